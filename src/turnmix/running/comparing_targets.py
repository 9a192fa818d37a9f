"""In: what `turnmix compare` is given: a sweep's directory, its comparison file, or runs. Out: a `Compared`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import UserError
from turnmix.recipe.recipe_file import MOST_BYTES
from turnmix.running.comparing import Compared, compare_sweep
from turnmix.running.comparing_runs import compare_runs
from turnmix.running.comparison_file import read_comparison
from turnmix.store.sweep_directory import RECORD, holds_sweep, read_sweep

RUNS = Path("runs")


def compare_targets(targets: Sequence[Path], outcomes: Sequence[str] = ()) -> Compared:
    """Raises UserError: there is nothing to compare, or something is damaged."""
    if len(targets) == 1 and (holds_sweep(targets[0]) or targets[0].is_file()):
        if outcomes:
            raise UserError(f"outcomes: {outcomes[0]!r}: the comparison's file says which: leave it out")
        return compare_sweep(targets[0] if targets[0].is_dir() else _sweep_of(targets[0]))
    for target in targets:
        if not target.exists():
            raise UserError(f"{target}: there is nothing: give a sweep, its file, or two runs or more")
    return compare_runs(targets, outcomes)


def _sweep_of(file: Path) -> Path:
    """The sweep of a comparison file: beside it, or below `runs`."""
    text = read_bounded(file, most=MOST_BYTES)
    digest = hashlib.sha256(text).hexdigest()
    name = read_comparison(file).comparison.name
    found = [path for path in (file.parent, *sorted(RUNS.glob("*"))) if os.path.lexists(path / RECORD)]
    for path in found:
        if read_sweep(path)["digest"] == digest:
            return path
    raise UserError(
        f"{file}: no sweep of it is here or in {RUNS}: `turnmix sweep {file}` runs it; name its directory if it is "
        f"elsewhere, such as {RUNS / name}"
    )
