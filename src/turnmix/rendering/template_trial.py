"""A chat template is a program of a stranger's: it is tried in a process of its own before it runs in this one.

In: a template. Out: nothing, or why it is not to be run: it does not come to an end, takes too much memory, or writes
without end, on short conversations or on long ones.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.core.message import Message
from turnmix.core.trajectory import State
from turnmix.rendering import probe
from turnmix.rendering.inside import try_template

SECONDS = 10
"""Of processor time, for all conversations; a usual template takes some hundredths, on a busy machine tenths."""
BYTES = 384 << 20
MOST_CHARACTERS = 2_000_000
_WAITED_SECONDS = 60.0
"""A machine that is busy gives little of itself to each process."""
_LONG_TURNS = 40
_LONG_TEXT = 5_000


@lru_cache(maxsize=64)
def complaint_of(template: str, special_tokens: tuple[tuple[str, str], ...]) -> str | None:
    """What is wrong with running it; None: nothing. `special_tokens`: what it is given by name."""
    given = {
        "path": sys.path,
        "template": template,
        "conversations": [
            {**dict(special_tokens), "enable_thinking": False, **each} for each in _conversations()
        ],
        "seconds": SECONDS,
        "bytes": BYTES,
    }
    try:
        done = _tried(given)
        if done.returncode < 0 and done.returncode != -signal.SIGXCPU:
            done = _tried(given)  # the machine, short of memory, may have ended it
    except subprocess.TimeoutExpired:
        return f"does not come to an end in {_WAITED_SECONDS:g} seconds"
    if done.returncode == try_template.TOO_MUCH_MEMORY:
        return f"takes more than {BYTES >> 20} MiB of memory"
    if done.returncode == -signal.SIGXCPU:
        return f"does not come to an end in {SECONDS} seconds"
    if done.returncode < 0:
        return f"breaks the process that renders it ({signal.Signals(-done.returncode).name})"
    if done.returncode == 0 and int(done.stdout) > MOST_CHARACTERS:
        return f"writes {int(done.stdout):,} characters of a conversation that has some {_num_characters():,}"
    return None


def _tried(given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", try_template.__file__],
        input=json_text(given),
        capture_output=True,
        text=True,
        timeout=_WAITED_SECONDS,
        env={},
    )


def _conversations() -> list[dict[str, Any]]:
    """In each shape in which a template may want its messages."""
    states = (probe.AFTER_TWO_ANSWERS, probe.AFTER_A_USER, _long())
    found = []
    for state, has_system, has_tools, is_prompt in product(states, *((True, False),) * 3):
        messages = [each for each in state.messages if has_system or each.role != "system"]
        tools = [tool.to_json() for tool in state.tools] if has_tools else None
        found.append(_rendered_with(messages, tools, is_prompt))
    return found


def _rendered_with(messages: Sequence[Message], tools: Any, is_prompt: bool) -> dict[str, Any]:
    return {
        "messages": [message.to_json() for message in messages],
        "tools": tools,
        "documents": None,
        "add_generation_prompt": is_prompt,
    }


def _long() -> State:
    """A conversation such as a run has: many turns, with long answers."""
    call, answer = probe.AFTER_ONE_ANSWER.messages[-2:]
    answer = Message(role="tool", content=answer.content * (_LONG_TEXT // len(answer.content)))
    return State(messages=(*probe.BEGINNING.messages, *[call, answer] * _LONG_TURNS), tools=(probe.TOOL,))


def _num_characters() -> int:
    return sum(len(message.content) for message in _long().messages)
