"""Commands in a task's sandbox, for a scaffold that runs outside of it: `POST <session>/run`.

In: {"command": …, "timeout": seconds}. Out: {"exit_code": … or null, "output": …}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from turnmix.gateway.model_request import RequestError
from turnmix.gateway.scaffolds.work import Place
from turnmix.gateway.serving.sessions import Operation
from turnmix.sandboxes.sandbox import SandboxEnded

USUAL_SECONDS = 120.0
OUTPUT_BYTES = 4 << 20
_KEYS = ("command", "timeout")


def run_operation(place: Place) -> Operation:
    """What answers such requests."""

    async def run(body: Mapping[str, Any]) -> dict[str, Any]:
        command, seconds = _read(body)
        try:
            result = await place.sandbox.run(
                command,
                working_directory=place.working_directory,
                timeout=seconds,
                output_limit=OUTPUT_BYTES,
            )
        except SandboxEnded as ended:
            raise RequestError("unavailable", f"the sandbox was stopped: {ended}") from ended
        return {"exit_code": result.exit_code, "output": result.output.decode("utf-8", "replace")}

    return run


def _read(body: Mapping[str, Any]) -> tuple[str, float]:
    if unknown := sorted(str(key) for key in body if key not in _KEYS):
        raise RequestError(
            "invalid_request", f"{unknown[0]:.80}: there is no such key: give command, and timeout"
        )
    command, seconds = body.get("command"), body.get("timeout", USUAL_SECONDS)
    if not isinstance(command, str) or not command.strip():
        told = f"command: {command!r:.80}: give a line for /bin/sh"
        raise RequestError("invalid_request", told, parameter="command")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        told = f"timeout: {seconds!r:.80}: give a number of seconds above 0"
        raise RequestError("invalid_request", told, parameter="timeout")
    return command, float(seconds)
