"""The kinds of sandbox that a recipe can ask for, and whether this machine can make them.

In: the `sandbox` section of a recipe. Out: sandboxes, or, before any work starts, an error that says
what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import PositiveFloat, PositiveInt, model_validator

from turnmix.core.child_environment import child_environment
from turnmix.core.doors import Door
from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.core.finding import Finding
from turnmix.core.settings import NAMES
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox, system_binds
from turnmix.sandboxes.container.engine import engine_for
from turnmix.sandboxes.container.images import ensure_image
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import CONTAINER_LIMITS, HANDLING, ContainerSettings
from turnmix.sandboxes.local import UnsandboxedSandbox
from turnmix.sandboxes.python_environment import find_python_environment
from turnmix.sandboxes.settings import NO_NEEDS, LimitedSandboxSettings, SandboxNeeds, SandboxSettings

PROBE = ("--unshare-all", "--unshare-user", "--die-with-parent", *system_binds(), "--proc", "/proc")


class BubblewrapSettings(LimitedSandboxSettings):
    """Namespaces of this machine."""

    kind: Literal["bubblewrap"] = "bubblewrap"
    python_environments: Annotated[tuple[str, ...], NAMES] = ()
    """Directories of Python environments of this machine, shown read-only inside, at the paths that they have here: a
    scaffold of your own may be installed in one. Their programs are found after all others; TURNMIX_PYTHON is the
    first one's Python."""

    @model_validator(mode="before")
    @classmethod
    def _without_containers(cls, given: Any) -> Any:
        return _without_containers(given)

    def make(self, needs: SandboxNeeds = NO_NEEDS) -> BubblewrapSandbox:
        _refuse_image(self, needs)
        shown = [find_python_environment(directory) for directory in self.python_environments]
        return BubblewrapSandbox(self.limits, python=needs.python, variables=needs.variables, shown=shown)

    def check(self) -> Iterable[Finding]:
        _check_is_linux(self)
        if shutil.which("bwrap") is None:
            raise MissingDependencyError(
                "sandbox.kind = bubblewrap: the program `bwrap` is not installed. "
                "Install the package `bubblewrap`: sudo apt-get install bubblewrap"
            )
        for directory in self.python_environments:
            find_python_environment(directory)
        result = subprocess.run(
            ["bwrap", *PROBE, "true"], capture_output=True, text=True, timeout=30, env=child_environment()
        )
        if result.returncode != 0:
            raise MissingDependencyError(
                "sandbox.kind = bubblewrap: `bwrap` cannot make a sandbox here "
                f"({result.stderr.strip()}). {_remedy()}"
            )
        return ()


class ContainerSandboxSettings(LimitedSandboxSettings):
    """Docker or Podman, where tasks have images."""

    kind: Literal["container"] = "container"
    memory_bytes: PositiveInt = CONTAINER_LIMITS.memory_bytes
    processes: PositiveInt = CONTAINER_LIMITS.processes
    file_bytes: PositiveInt = CONTAINER_LIMITS.file_bytes
    disk_bytes: PositiveInt = CONTAINER_LIMITS.disk_bytes
    wall_seconds: PositiveFloat = CONTAINER_LIMITS.wall_seconds
    container: ContainerSettings = ContainerSettings()
    """What concerns containers alone."""

    def conditions(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"container": set(HANDLING)})

    def make(self, needs: SandboxNeeds = NO_NEEDS) -> ContainerSandbox:
        _refuse_python(self, needs)
        image = needs.build or needs.image or self.container.image
        if image is None:
            raise UserError(
                "sandbox.container.image is not set, and these tasks name no image: set it to one that has "
                "what they need, such as python3"
            )
        for name, wanted, allowed in (
            ("memory_bytes", needs.memory_bytes, self.memory_bytes),
            ("disk_bytes", needs.disk_bytes, self.disk_bytes),
            ("container.cpus", needs.cpus, self.container.cpus),
            ("wall_seconds", needs.seconds, self.wall_seconds),
        ):
            if (wanted or 0) > allowed:
                raise UserError(
                    f"sandbox.{name} = {allowed}: this task needs more: set sandbox.{name}={wanted:.15g}"
                )
        if needs.network == "wanted" and self.container.network == "none":
            raise UserError(
                "sandbox.container.network = none: this task is made for containers with a network: name one, such as "
                "sandbox.container.network=bridge"
            )
        given = {"memory_bytes": needs.memory_bytes, "disk_bytes": needs.disk_bytes}
        return ContainerSandbox(
            image,
            limits=replace(self.limits, **{name: value for name, value in given.items() if value}),
            settings=self.container,
            inside=self.container.model_copy(
                update={
                    "cpus": needs.cpus or self.container.cpus,
                    "network": "none" if needs.network == "none" else self.container.network,
                }
            ),
            variables=needs.variables,
        )

    def check(self) -> Iterable[Finding]:
        engine = engine_for(self.container)
        if self.container.image is not None and self.container.pull == "never":
            ensure_image(engine.api, self.container.image, self.container)
        return ()


class UnsandboxedSettings(LimitedSandboxSettings):
    """The agent's commands run here with your rights, only where you can lose the machine."""

    kind: Literal["none"] = "none"

    @model_validator(mode="before")
    @classmethod
    def _without_containers(cls, given: Any) -> Any:
        return _without_containers(given)

    def make(self, needs: SandboxNeeds = NO_NEEDS) -> UnsandboxedSandbox:
        _refuse_image(self, needs)
        _refuse_python(self, needs)
        return UnsandboxedSandbox(self.limits)

    def check(self) -> Iterable[Finding]:
        _check_is_linux(self)
        return ()


SANDBOXES = Door(
    field="sandbox.kind",
    base=SandboxSettings,
    kinds=(BubblewrapSettings, ContainerSandboxSettings, UnsandboxedSettings),
    implied=lambda given: "container" if "container" in given else "bubblewrap",
)


def _without_containers(given: Any) -> Any:
    """A resolved recipe of earlier releases says what concerns containers whatever the kind."""
    held = given.get("container") if isinstance(given, dict) else None
    if isinstance(held, dict) and {"image", "socket", "network"} <= held.keys():
        return {name: value for name, value in given.items() if name != "container"}
    return given


def _refuse_image(settings: SandboxSettings, needs: SandboxNeeds) -> None:
    if needs.image is not None or needs.build is not None:
        image = needs.image or "its own image"
        raise UserError(
            f"sandbox.kind = {settings.kind}: this task needs a container of {image}: set sandbox.kind=container"
        )


def _refuse_python(settings: SandboxSettings, needs: SandboxNeeds) -> None:
    if needs.python is not None:
        raise UserError(
            f"sandbox.kind = {settings.kind}: these tasks run with {needs.python.directory}, which a bubblewrap "
            "sandbox alone can show: set sandbox.kind=bubblewrap"
        )


def _check_is_linux(settings: SandboxSettings) -> None:
    if not sys.platform.startswith("linux"):
        raise MissingDependencyError(
            f"sandbox.kind = {settings.kind}: sandboxes need Linux, not {sys.platform}"
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
