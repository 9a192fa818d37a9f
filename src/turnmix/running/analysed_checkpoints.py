"""Which checkpoints of a run are analysed.

In: a run, and what was asked for. Out: iterations.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from turnmix.core.errors import UserError
from turnmix.store.deleted_checkpoint import check_is_not_deleted
from turnmix.store.place import check_holds_run, resume_command
from turnmix.store.run_directory import CHECKPOINTS, EVALUATION, RunDirectory
from turnmix.training.checkpoint_files import whole_checkpoints

Checkpoints = Literal["last", "all"] | Sequence[int]
"""Which: the last one, all that are there with the base student, or the iterations named; 0: the base student."""


def chosen_iterations(run: Path, checkpoints: Checkpoints) -> list[int]:
    """Raises UserError: there is no run, or not such a checkpoint."""
    check_holds_run(run)
    if (run / EVALUATION).is_file():
        raise UserError(f"{run} holds an evaluation, not a run: name the run")
    whole = whole_checkpoints(run / CHECKPOINTS)
    if checkpoints == "all":
        return [0, *whole]
    if checkpoints == "last":
        with closing(RunDirectory.read(run)) as directory:
            trained = directory.last_trained()
        if trained and not whole:
            raise UserError(
                f"{run} was trained up to iteration {trained}, and holds no whole checkpoint: put one back, have it "
                f"made again ({resume_command(run)}), or name --checkpoints 0, the base student"
            )
        return [max(whole, default=0)]
    iterations = sorted({*checkpoints})
    with closing(RunDirectory.read(run)) as directory:
        paths = {each: directory.checkpoint(each) for each in iterations if each and each not in whole}
    for iteration, path in paths.items():
        check_is_not_deleted(path)
        raise UserError(
            f"checkpoints: {iteration}: {path} is not whole: choose from {', '.join(map(str, [0, *whole]))}"
        )
    return iterations


def is_evaluated(run: Path, iterations: Sequence[int]) -> bool:
    """Did the run itself evaluate each of these checkpoints?"""
    with closing(RunDirectory.read(run)) as directory:
        return all(directory.stage_metrics("evaluate", iteration) is not None for iteration in iterations)
