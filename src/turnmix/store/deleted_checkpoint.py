"""The path of a checkpoint that was deleted from its run: which ones are left is said in its place."""

from __future__ import annotations

from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.store.place import RECIPE
from turnmix.training.checkpoint_files import checkpoint_name, iteration_in, whole_checkpoints


def check_is_not_deleted(path: Path, *, field: str | None = None) -> None:
    """`field`: where the recipe gives the path. Raises UserError: it is a run's checkpoint, and is not there."""
    run, folder = path.parent.parent, path.parent
    if path.exists() or iteration_in(path.name) is None or not (run / RECIPE).is_file():
        return
    left = [str(folder / checkpoint_name(iteration)) for iteration in whole_checkpoints(folder)]
    others = f"left: {', '.join(left)}" if left else "no other one is left"
    told = f"{path}: this checkpoint is not there (checkpoints.keep says how many stay): {others}"
    raise UserError(told if field is None else f"{field}: {told}")
