"""The checkpoints of a run directory: which are whole, and what of them is no longer needed.

In: the directory `checkpoints/`. Out: the iterations with a whole checkpoint. A gap between them means nothing: who
frees a disk deletes the oldest.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from turnmix.core.atomic_file import force_to_disk
from turnmix.core.bounded_file import read_bounded
from turnmix.core.json_text import MOST_BYTES, json_value

LEARNER_FILE = "learner.pt"
"""The optimiser's state, by far the largest file of a checkpoint; a resumed run needs the last one alone."""
_NAME = re.compile(r"iteration-(\d{3,9})", re.ASCII)
_INDEX = "model.safetensors.index.json"


def checkpoint_name(iteration: int) -> str:
    return f"iteration-{iteration:03d}"


def iteration_in(name: str) -> int | None:
    """
    >>> iteration_in("iteration-012"), iteration_in("iteration-0012"), iteration_in("best")
    (12, None, None)
    """
    match = _NAME.fullmatch(name)
    return int(match[1]) if match and checkpoint_name(int(match[1])) == name else None


def whole_checkpoints(directory: Path) -> list[int]:
    """The iterations whose checkpoint is there with all of its weights, in order."""
    if not directory.is_dir():
        return []
    found = (iteration_in(path.name) for path in directory.iterdir() if _is_whole(path))
    return sorted(iteration for iteration in found if iteration is not None)


def prune(directory: Path, *, keep: int | None, named: Collection[str]) -> None:
    """Delete what no run goes on from: of all whole checkpoints but the last that has it, the optimiser's state; and
    the checkpoints themselves but for the last `keep` of them (None: all) and those that are `named`. A kill in the
    midst leaves no half of a checkpoint under its name."""
    iterations = whole_checkpoints(directory)
    for path in directory.glob(".iteration-*.pruned"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:  # none of ours, and in the way of ours
            path.unlink()
    last = max(filter(lambda each: has_learner(directory / checkpoint_name(each)), iterations), default=None)
    for iteration in iterations[:-1]:
        path = directory / checkpoint_name(iteration)
        if iteration == last or path.is_symlink():
            continue  # what a link leads to may not be ours
        if keep is None or iteration in iterations[-keep:] or path.name in named:
            (path / LEARNER_FILE).unlink(missing_ok=True)
        else:
            pruned = path.rename(directory / f".{path.name}.pruned")
            force_to_disk(directory)
            shutil.rmtree(pruned, ignore_errors=True)


def has_learner(checkpoint: Path) -> bool:
    """Can a run go on from it?"""
    return (checkpoint / LEARNER_FILE).is_file()


def without_learner(checkpoint: Path) -> str:
    """What to do where a run cannot go on from `checkpoint`, its last: no other one has an optimiser's state."""
    return (
        f"without it the run does not go on as it would have: put it back, delete {checkpoint.parent} to have each "
        f"iteration trained again from the stored rollouts, or begin another run with student.model={checkpoint}"
    )


def _is_whole(path: Path) -> bool:
    if not (path / "config.json").is_file():
        return False
    try:
        parts = set(json_value(read_bounded(path / _INDEX, most=MOST_BYTES))["weight_map"].values())
    except FileNotFoundError:
        return any(path.glob("*.safetensors"))
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((path / part).is_file() for part in parts)
