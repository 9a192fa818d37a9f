"""Where on this machine memory cgroups can be made for sandboxes, if anywhere.

In: what the kernel tells of this process. Out: a directory of a cgroup file system.

version 1   the group that this process is in, where it may be written: in effect, for root.
version 2   that group, if its processes lie in groups below it, as they must where memory is divided:
            - in the root of all groups;
            - in a scope that systemd makes for this process and leaves to its user (in a user's session, also
              without root), or has made for it before;
            - in a unit with Delegate=yes, or as root in a container with its own view of the groups, whose
              processes all move one step down.

Limits of the groups above hold as before.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass

PREFIX = "turnmix-"
MAIN = "turnmix.main"
"""The group of the processes that are no sandbox's."""
SCOPE_SECONDS = 5.0
MOVES = 10
CONTROLLER = "memory"


@dataclass(frozen=True, slots=True)
class Place:
    directory: str
    version: int


def find_place() -> Place | None:
    """It may move this process into another group."""
    with open("/proc/self/cgroup") as file:
        groups = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, group in groups:
        if "memory" in controllers.split(","):
            return _below(group, "cgroup", "memory", version=1)
    for number, controllers, group in groups:
        if number == "0" and not controllers:
            return _version_2(group)
    return None


def _version_2(group: str) -> Place | None:
    place = _below(group, "cgroup2", "", version=2)
    if place is None:
        return None
    directory = place.directory
    if os.path.basename(directory) == MAIN:  # another of ours has made it ready
        directory = os.path.dirname(directory)
    if _divides_memory(directory):
        return Place(directory, 2)
    if "/user.slice/" in group and _enter_scope():
        with open("/proc/self/cgroup") as file:
            group = file.read().rpartition("0::")[2].strip()
        place = _below(group, "cgroup2", "", version=2)
        return place if place is not None and _move_down(place.directory) else None
    is_own = group == "/" and os.geteuid() == 0
    return Place(directory, 2) if (is_own or _is_delegated(directory)) and _move_down(directory) else None


def _below(group: str, kind: str, option: str, *, version: int) -> Place | None:
    """The directory of `group` in a mounted cgroup file system."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, described = line.partition(" - ")
            root, target = fields.split()[3:5]
            its_kind, _, options = described.split(None, 2)
            if its_kind != kind or (option and option not in options.strip().split(",")):
                continue
            if root == "/" or group == root or group.startswith(f"{root}/"):
                below = group if root == "/" else group[len(root) :]
                directory = f"{target}{below}".rstrip("/")
                return Place(directory, version) if os.access(directory, os.W_OK) else None
    return None


def _divides_memory(directory: str) -> bool:
    """Whether groups below `directory` can limit memory, once this has tried to have it so."""
    path = f"{directory}/cgroup.subtree_control"
    for controllers in (f"+{CONTROLLER} +pids", f"+{CONTROLLER}"):
        with contextlib.suppress(OSError):
            _write(path, controllers)
            break
    with contextlib.suppress(OSError), open(path) as file:
        return CONTROLLER in file.read().split()
    return False


def _is_delegated(directory: str) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            return os.getxattr(directory, name) == b"1"
    return False


def _move_down(directory: str) -> bool:
    """Move all processes of a group into one below it, so that memory can be divided among more."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{directory}/{MAIN}")
    for _ in range(MOVES):
        with open(f"{directory}/cgroup.procs") as file:
            pids = file.read().split()
        for pid in pids:
            with contextlib.suppress(OSError):
                _write(f"{directory}/{MAIN}/cgroup.procs", pid)
        if _divides_memory(directory):
            return True
    return False


def _enter_scope() -> bool:
    """Have systemd make a scope for this process, which its user may divide."""
    manager = "org.freedesktop.systemd1"
    name = f"{PREFIX}{os.getpid()}.scope"
    properties = ["PIDs", "au", "1", str(os.getpid()), "Delegate", "b", "true"]
    properties += ["Description", "s", "TurnMix and its sandboxes"]
    command = ["busctl", "--system" if os.geteuid() == 0 else "--user", "call", manager]
    command += [f"/{manager.replace('.', '/')}", f"{manager}.Manager", "StartTransientUnit"]
    command += ["ssa(sv)a(sa(sv))", name, "fail", "3", *properties, "0"]
    try:
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=SCOPE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    deadline = time.monotonic() + SCOPE_SECONDS
    while result.returncode == 0 and time.monotonic() < deadline:
        with open("/proc/self/cgroup") as file:
            if file.read().rstrip().endswith(f"/{name}"):
                return True
        time.sleep(0.01)
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
