"""In: a comparison. Out: what is noted of it before its first run: digest, moment, commit and machine."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from turnmix.core.errors import TurnMixError
from turnmix.running.comparison_file import GivenComparison
from turnmix.task_making.version_control import git


def record_of(given: GivenComparison) -> dict[str, Any]:
    """As `comparison.json` holds it."""
    return {
        "name": given.comparison.name,
        "digest": given.digest,
        "fixed": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": None if given.path is None else commit_of(given.path, given.text),
        "machine": {
            "system": platform.platform(terse=True),
            "processor": _processor(),
            "cpus": os.cpu_count() or 0,
            "python": platform.python_version(),
        },
    }


def commit_of(path: Path, text: bytes) -> dict[str, str] | None:
    """The last commit that changed the file, and its time; None: what is committed is not `text`, or nothing is."""
    folder, name = path.resolve().parent, path.name
    try:
        found = (
            git(folder, "log", "-1", "--no-show-signature", "--format=%H %cI", "--", name).decode().split()
        )
        if len(found) != 2 or git(folder, "cat-file", "blob", f"{found[0]}:./{name}") != text:
            return None
    except TurnMixError:
        return None
    return {"id": found[0], "time": found[1]}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
