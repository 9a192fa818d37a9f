"""The seam between a trajectory behind the gateway and a scaffold of the user's own.

In: what a scaffold needs for one trajectory: a task, a session to ask, a place to work in. Out: how it ended. A
command, a function and whatever else is a scaffold says no more than this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnmix.core.task import Task
from turnmix.gateway.scaffolds.log import ScaffoldLog
from turnmix.gateway.serving.sessions import OpenedSession
from turnmix.sandboxes.sandbox import Sandbox

MODEL = "turnmix"
"""As a scaffold may call the model; any other name does as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a task lies: a sandbox, started and laid out."""

    sandbox: Sandbox
    working_directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaffoldWork:
    """One trajectory, as a scaffold is given it."""

    task: Task
    seed: int
    """Of the trajectory, for what a scaffold draws itself."""
    session: OpenedSession
    place: Place | None
    """None: the task has no sandbox."""
    log: ScaffoldLog
    """Of what the scaffold says."""

    def task_json(self, *, working_directory: str | None) -> dict[str, Any]:
        """What a scaffold may know of its task. `working_directory`: where it lies, as the scaffold sees it."""
        return {
            **self.task.fields,
            "id": self.task.id,
            "prompt": self.task.problem_statement,
            "working_directory": working_directory,
            "model": MODEL,
            "session": self.session.id,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaffoldEnd:
    """How a scaffold ended by itself."""

    status: int = 0
    """Exit status; 0: it did what it wanted."""
    report: Mapping[str, Any] | None = None
    """What it says of how well it went, not validated yet; None: it says nothing."""
    fault: str | None = None
    """Why its report cannot be read."""


RunScaffold = Callable[[ScaffoldWork], Awaitable[ScaffoldEnd]]
"""Works until the scaffold ends. Cancelled: it ends the scaffold with all that it started.

Raises:
    UserError: it cannot be started at all.
    InfrastructureError: the sandbox failed; a SandboxEnded of these by what ran in it.
    PluginError: the user's own function failed.
"""
