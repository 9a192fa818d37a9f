"""Why the line to a container broke: by what ran in it, or by something outside, as far as the runtime tells.

In: a container's name. Out: the error that everything in the sandbox then ends with. It blocks: it is
called in a thread.

Outside are: a runtime that does not answer, or knows of no such container; what it was told to do to the container;
and, in Podman, which does not tell of every such order, a SIGKILL of process 1 that no lack of the container's own
memory explains: nothing inside can send it one. All else is the doing of what ran inside.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnmix.core.errors import SandboxError
from turnmix.core.json_text import json_text, json_value
from turnmix.sandboxes.sandbox import SandboxEnded

if TYPE_CHECKING:
    from turnmix.sandboxes.container.engine import Engine

ORDERED = {"kill", "stop", "pause", "restart", "checkpoint", "paused", "stopping", "removing"}
"""Events and states that something outside brings about."""
KILLED = "137"
MARGIN_SECONDS = 10.0
CGROUPS = Path("/sys/fs/cgroup")


def explain_end(engine: Engine, container: str, told: str, *, age: float) -> SandboxError:
    """`told`: what broke; `age`: seconds for which the container may have been there.

    Raises docker.errors.DockerException, requests.exceptions.RequestException: the runtime does not answer.
    """
    is_there, state, now = _state(engine, container)
    was_short = bool(state.get("OOMKilled")) or _was_short_of_memory(state)
    events = list(_events(engine, container, since=now - age - MARGIN_SECONDS, until=now + 1))
    happened = [str(event.get("Action")) for event in events]
    code = next((_exit_code(event) for event in events if event.get("Action") == "die"), None)
    told = f"the container {told}"
    if ordered := [what for what in (*happened, str(state.get("Status"))) if what in ORDERED]:
        return SandboxError(f"{told}: something outside had it end or wait ({ordered[0]})")
    if state.get("Error"):
        return SandboxError(f"{told}: {state['Error']}")
    if not is_there and code is None:
        return SandboxError(f"{told}: the runtime knows of no such container any more")
    if engine.is_podman and code == KILLED and not was_short and "oom" not in happened:
        return SandboxError(f"{told}: something outside killed or removed it")
    return SandboxEnded(told if code is None else f"{told} with exit code {code}")


def _state(engine: Engine, container: str) -> tuple[bool, dict[str, Any], float]:
    """Whether the container is there, its state, and what the runtime's clock says."""
    response = engine.api._get(engine.api._url("/containers/{0}/json", container))
    date = response.headers.get("Date")
    now = parsedate_to_datetime(date).timestamp() if date else time.time()
    if response.status_code == 404 or (not response.ok and b"no such container" in response.content):
        return False, {}, now
    return True, engine.api._result(response, True).get("State") or {}, now


def _was_short_of_memory(state: dict[str, Any]) -> bool:
    """Whether the kernel killed in the container for its own limit, which not every Podman notices; where its
    cgroup is on this machine and still there."""
    path = str(state.get("CgroupPath") or "").lstrip("/")
    for file in (CGROUPS / path / "memory.events", CGROUPS / "memory" / path / "memory.oom_control"):
        with contextlib.suppress(OSError):
            counted = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
            return bool(path) and counted is not None and int(counted[1]) > 0
    return False


def _events(engine: Engine, container: str, *, since: float, until: float) -> Iterator[dict[str, Any]]:
    filters = json_text({"container": [container], "type": ["container"]})
    params = {"since": int(since), "until": int(until) + 1, "filters": filters}
    response = engine.api._get(engine.api._url("/events"), params=params)
    engine.api._raise_for_status(response)
    for line in response.content.splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(event := json_value(line), dict):
                yield event


def _exit_code(event: dict[str, Any]) -> str | None:
    attributes = (event.get("Actor") or {}).get("Attributes") or {}
    return attributes.get("exitCode") or attributes.get("containerExitCode")
