"""Whose a container is, by its labels, and whether its owner still lives.

In: labels. Out: the containers that a dead process left. Where that cannot be known (another machine,
another pid namespace) they are left alone: a living run never loses one.
"""

from __future__ import annotations

import functools
import os
import uuid
from pathlib import Path
from typing import Any

from turnmix.core.json_text import json_text, json_value

OWNER_LABEL = "turnmix.owner"
RUN_LABEL = "turnmix.run"


@functools.lru_cache
def _run() -> str:
    return uuid.uuid4().hex


def labels() -> dict[str, str]:
    """The labels of this process's containers."""
    return {OWNER_LABEL: json_text(_process(os.getpid())), RUN_LABEL: _run()}


def is_orphan(container: dict[str, Any]) -> bool:
    """Whether the process that made a listed container has ended."""
    try:
        owner = json_value(container["Labels"][OWNER_LABEL])
        machine, boot, namespace, pid, started = (
            owner[name] for name in ("machine", "boot", "namespace", "pid", "started")
        )
        here = _process(os.getpid())
        if not machine or machine != here["machine"]:
            return False
        if boot != here["boot"]:
            return bool(container["State"] != "running")
        return bool(namespace == here["namespace"] and started != _started(int(pid)))
    except (KeyError, TypeError, ValueError):  # not a label of ours
        return False


def _process(pid: int) -> dict[str, Any]:
    return {
        "machine": _line("/etc/machine-id") or os.uname().nodename,
        "boot": _line("/proc/sys/kernel/random/boot_id"),
        "namespace": os.stat("/proc/self/ns/pid").st_ino,
        "pid": pid,
        "started": _started(pid),
    }


def _started(pid: int) -> str | None:
    """When a process began, in ticks; with the pid it names one process of a boot. None: there is none."""
    fields = _line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return None if not fields or fields[0] in "ZX" else fields[19]


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
