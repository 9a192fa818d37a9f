"""The name of a model in a recipe enters; where transformers finds it leaves."""

from __future__ import annotations

from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.nano import CHECKPOINT, TEACHER
from turnmix.store.run_directory import RECIPE, RunDirectory

EMBEDDED = {"nano-student": (CHECKPOINT, "make student"), "nano-teacher": (TEACHER, "make teacher")}


def model_location(name: str, *, field: str) -> str:
    """The directory of an embedded model, or the last checkpoint of a run directory; a path or a hub id is
    itself. `field` is where the recipe gives the name.

    Raises:
        UserError: there is no such checkpoint.
    """
    if name in EMBEDDED:
        directory, command = EMBEDDED[name]
        if not directory.is_dir():
            raise UserError(
                f"{field}: the checkpoint of {name!r} is not in this installation: make it with "
                f"`{command}`, or name another model"
            )
        return str(directory)
    if not (Path(name) / RECIPE).is_file():
        return name
    run = RunDirectory.read(Path(name))
    if not (iteration := run.last_checkpoint()):
        raise UserError(
            f"{field}: the run {name} has no checkpoint yet: name a run that has finished an iteration"
        )
    return str(run.checkpoint(iteration))
