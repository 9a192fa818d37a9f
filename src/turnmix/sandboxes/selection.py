"""Which sandbox a recipe asks for, and whether this machine can make it.

Enters: the `sandbox` section of a recipe. Leaves: sandboxes, or, before any work starts, an error that says
what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from turnmix.core.errors import MissingDependencyError
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.local import UnsandboxedSandbox
from turnmix.sandboxes.sandbox import Limits, Sandbox
from turnmix.settings import Settings

DEFAULTS = Limits()
PROBE = ("--unshare-all", "--unshare-user", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc")


class SandboxSettings(Settings):
    """The isolated place where an agent's commands run."""

    kind: Literal["bubblewrap", "none"] = "bubblewrap"
    """`none` runs the agent's commands here with your rights: only where you can lose the machine."""
    memory_bytes: PositiveInt = DEFAULTS.memory_bytes
    """Total of all processes of one sandbox and of its files, which are in memory."""
    processes: PositiveInt = DEFAULTS.processes
    """Processes and threads of one sandbox."""
    file_bytes: PositiveInt = DEFAULTS.file_bytes
    """Largest single file."""
    disk_bytes: PositiveInt = DEFAULTS.disk_bytes
    """All files of one sandbox together."""
    wall_seconds: PositiveFloat = DEFAULTS.wall_seconds
    """From the start of one sandbox; then it is killed."""


def make_sandbox(settings: SandboxSettings) -> Sandbox:
    """A sandbox, not started."""
    limits = Limits(**settings.model_dump(exclude={"kind"}))
    return BubblewrapSandbox(limits) if settings.kind == "bubblewrap" else UnsandboxedSandbox(limits)


def check_sandbox(settings: SandboxSettings) -> None:
    """Raise MissingDependencyError when this machine cannot make such a sandbox."""
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
    result = subprocess.run(["bwrap", *PROBE, "true"], capture_output=True, text=True, timeout=30)
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
