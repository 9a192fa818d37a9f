"""What a recipe says of sandboxes, whatever their kind; and what a task needs of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import PositiveFloat, PositiveInt

from turnmix.core.doors import DoorSettings
from turnmix.sandboxes.python_environment import PythonEnvironment
from turnmix.sandboxes.sandbox import Limits, Sandbox

_USUAL = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """A container's image that is made here, once, of a directory with a Dockerfile."""

    directory: Path
    seconds: float
    """That it may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxNeeds:
    """What a task needs of its sandbox."""

    image: str | None = None
    """The container's, where the task has its own."""
    build: ImageBuild | None = None
    """What makes the container's image, where the task brings it so."""
    memory_bytes: int | None = None
    """That the task is made for, of what a sandbox may use; None: all that it may."""
    disk_bytes: int | None = None
    """As `memory_bytes`."""
    cpus: float | None = None
    """As `memory_bytes`."""
    seconds: float = 0.0
    """That a sandbox must be able to live."""
    network: Literal["none", "wanted"] | None = None
    """none: the task is to be done without; wanted: it cannot be done without; None: as the recipe says."""
    python: PythonEnvironment | None = None
    """What `python` means inside."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set for every command."""


NO_NEEDS = SandboxNeeds()


class MakeSandbox(Protocol):
    """Makes a sandbox, not started."""

    def __call__(self, needs: SandboxNeeds = NO_NEEDS) -> Sandbox: ...


class SandboxSettings(DoorSettings):
    """The isolated place where an agent's commands run."""

    kind: str
    """bubblewrap: namespaces of this machine; container: Docker or Podman, where tasks have images; none: the
    agent's commands run here with your rights, only where you can lose the machine."""

    def make(self, needs: SandboxNeeds = NO_NEEDS) -> Sandbox:
        """A sandbox, not started.

        Raises:
            UserError: this kind of sandbox cannot have what is needed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no make")

    def conditions(self) -> dict[str, Any]:
        """What commands inside depend on: equal conditions give equal verdicts."""
        return self.model_dump(mode="json")


class LimitedSandboxSettings(SandboxSettings):
    """A sandbox that holds each of the usual limits."""

    memory_bytes: PositiveInt = _USUAL.memory_bytes
    """Total of all processes of one sandbox; in bubblewrap with its files, which are in memory. The defaults
    of this and of the other limits are larger for containers."""
    processes: PositiveInt = _USUAL.processes
    """Processes and threads of one sandbox."""
    file_bytes: PositiveInt = _USUAL.file_bytes
    """Largest single file."""
    disk_bytes: PositiveInt = _USUAL.disk_bytes
    """All files of one sandbox together."""
    wall_seconds: PositiveFloat = _USUAL.wall_seconds
    """The life of one sandbox, from its start; then it is killed. It does not count while a model is asked."""

    @property
    def limits(self) -> Limits:
        """As a sandbox takes them."""
        return Limits(**{name: getattr(self, name) for name in Limits.__dataclass_fields__})
