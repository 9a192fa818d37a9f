"""Which sandbox a recipe asks for, and whether this machine can make it.

Enters: the `sandbox` section of a recipe. Leaves: sandboxes, or, before any work starts, an error that says
what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt, model_validator

from turnmix.core.child_environment import child_environment
from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.core.settings import Settings
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox, system_binds
from turnmix.sandboxes.container.engine import engine_for
from turnmix.sandboxes.container.images import ensure_image
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import CONTAINER_LIMITS, HANDLING, ContainerSettings
from turnmix.sandboxes.local import UnsandboxedSandbox
from turnmix.sandboxes.python_environment import PythonEnvironment
from turnmix.sandboxes.sandbox import Limits, Sandbox

DEFAULTS = Limits()
PROBE = ("--unshare-all", "--unshare-user", "--die-with-parent", *system_binds(), "--proc", "/proc")


class SandboxSettings(Settings):
    """The isolated place where an agent's commands run."""

    kind: Literal["bubblewrap", "container", "none"] = "bubblewrap"
    """bubblewrap: namespaces of this machine; container: Docker or Podman, where tasks have images; none: the
    agent's commands run here with your rights, only where you can lose the machine."""
    memory_bytes: PositiveInt = DEFAULTS.memory_bytes
    """Total of all processes of one sandbox; in bubblewrap with its files, which are in memory. The defaults
    of this and of the other limits are larger for containers."""
    processes: PositiveInt = DEFAULTS.processes
    """Processes and threads of one sandbox."""
    file_bytes: PositiveInt = DEFAULTS.file_bytes
    """Largest single file."""
    disk_bytes: PositiveInt = DEFAULTS.disk_bytes
    """All files of one sandbox together."""
    wall_seconds: PositiveFloat = DEFAULTS.wall_seconds
    """The life of one sandbox, from its start; then it is killed. It does not count while a model is asked."""
    container: ContainerSettings = ContainerSettings()
    """What concerns containers alone."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Lay a container's limits under what is given."""
        if isinstance(given, dict) and given.get("kind") == "container":
            return {**asdict(CONTAINER_LIMITS), **given}
        return given

    def conditions(self) -> dict[str, Any]:
        """What commands inside depend on: equal conditions give equal verdicts."""
        unseen = HANDLING if self.kind == "container" else set(ContainerSettings.model_fields)
        return self.model_dump(mode="json", exclude={"container": set(unseen)})


def make_sandbox(
    settings: SandboxSettings,
    *,
    image: str | None = None,
    python: PythonEnvironment | None = None,
    variables: Mapping[str, str] | None = None,
) -> Sandbox:
    """A sandbox, not started. `image`: the container's, where the task has its own. `python`: what `python`
    means inside. `variables`: set for every command.

    Raises:
        UserError: this kind of sandbox cannot have `image`, or cannot show `python`.
    """
    limits = Limits(**settings.model_dump(exclude={"kind", "container"}))
    if image is not None and settings.kind != "container":
        raise UserError(
            f"sandbox.kind = {settings.kind}: this task needs a container of {image}: set "
            "sandbox.kind=container"
        )
    if settings.kind == "bubblewrap":
        return BubblewrapSandbox(limits, python=python, variables=variables)
    if python is not None:
        raise UserError(
            f"sandbox.kind = {settings.kind}: these tasks run with {python.directory}, which a bubblewrap "
            "sandbox alone can show: set sandbox.kind=bubblewrap"
        )
    if settings.kind == "container":
        image = image or settings.container.image
        if image is None:
            raise UserError(
                "sandbox.container.image is not set, and these tasks name no image: set it to one that has "
                "what they need, such as python3"
            )
        return ContainerSandbox(image, limits=limits, settings=settings.container, variables=variables)
    return UnsandboxedSandbox(limits)


def check_sandbox(settings: SandboxSettings) -> None:
    """Raise UserError, mostly MissingDependencyError, when this machine cannot make such a sandbox."""
    if settings.kind == "container":
        engine = engine_for(settings.container)
        if settings.container.image is not None and settings.container.pull == "never":
            ensure_image(engine.api, settings.container.image, settings.container)
        return
    if not sys.platform.startswith("linux"):
        raise MissingDependencyError(
            f"sandbox.kind = {settings.kind}: sandboxes need Linux, not {sys.platform}"
        )
    if settings.kind == "none":
        return
    if shutil.which("bwrap") is None:
        raise MissingDependencyError(
            "sandbox.kind = bubblewrap: the program `bwrap` is not installed. "
            "Install the package `bubblewrap`: sudo apt-get install bubblewrap"
        )
    result = subprocess.run(
        ["bwrap", *PROBE, "true"], capture_output=True, text=True, timeout=30, env=child_environment()
    )
    if result.returncode != 0:
        raise MissingDependencyError(
            "sandbox.kind = bubblewrap: `bwrap` cannot make a sandbox here "
            f"({result.stderr.strip()}). {_remedy()}"
        )


def _remedy() -> str:
    switches = {
        "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
        "kernel.unprivileged_userns_clone": ("0", "1"),
        "user.max_user_namespaces": ("0", "10000"),
    }
    for name, (refusing, allowing) in switches.items():
        path = "/proc/sys/" + name.replace(".", "/")
        if os.path.exists(path):
            with open(path) as file:
                if file.read().strip() == refusing:
                    return f"The kernel denies user namespaces. Allow them: sudo sysctl -w {name}={allowing}"
    return (
        "Inside a container, start it with the right to make namespaces "
        "(docker run --privileged, or --security-opt seccomp=unconfined --security-opt apparmor=unconfined)"
    )
