"""`turnmix exec -- COMMAND`: a scaffold that runs outside of its task's sandbox has a command run inside of it."""

from __future__ import annotations

import os
import shlex

import httpx

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.json_text import json_value
from turnmix.core.terminal import write_output

RUN_URL, KEY = "TURNMIX_RUN_URL", "OPENAI_API_KEY"
TIMED_OUT = 124
"""Exit status, as that of the program `timeout`."""
_ANSWER_SECONDS = 60.0
"""For the answer, beside the command's own time."""


def run_in_sandbox(words: list[str], *, seconds: float) -> int:
    """Print what the command says. Returns its exit status.

    Raises:
        UserError: there is no session to ask.
        InfrastructureError: the gateway did not run it.
    """
    url, key = os.environ.get(RUN_URL), os.environ.get(KEY)
    if not url or not key:
        missing = RUN_URL if not url else KEY
        raise UserError(
            f"{missing} is not set: `turnmix exec` is for the scaffold of rollouts.scaffold, which finds it in its "
            "environment"
        )
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise UserError("name a command: turnmix exec -- ls -l")
    command = words[0] if len(words) == 1 else shlex.join(words)
    try:
        response = httpx.post(
            url,
            json={"command": command, "timeout": seconds},
            headers={"Authorization": f"Bearer {key}"},
            timeout=seconds + _ANSWER_SECONDS,
            trust_env=False,
        )
        answer = json_value(response.content)
    except (httpx.HTTPError, ValueError) as error:
        raise InfrastructureError(f"the gateway gave no answer: {type(error).__name__}: {error}") from error
    if response.status_code != 200:
        told = answer.get("error", answer) if isinstance(answer, dict) else answer
        message = told.get("message", told) if isinstance(told, dict) else told
        raise InfrastructureError(f"the command was not run: {message!s:.500}")
    write_output(answer["output"])
    return TIMED_OUT if answer["exit_code"] is None else int(answer["exit_code"])
