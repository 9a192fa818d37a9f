"""In: the name of a model in a recipe. Out: where transformers finds it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.nano import BABYAI, CHECKPOINT, TEACHER
from turnmix.store.deleted_checkpoint import check_is_not_deleted
from turnmix.store.place import RECIPE
from turnmix.store.run_directory import RunDirectory

EMBEDDED = {
    "nano-student": (CHECKPOINT, "make student"),
    "nano-teacher": (TEACHER, "make teacher"),
    "babyai-student": (BABYAI, "make babyai-student"),
}


def model_location(name: str, *, field: str) -> str:
    """The directory of an embedded model, or the last checkpoint of a run directory; a path or a hub id is
    itself. `field` is where the recipe gives the name.

    Raises:
        UserError: there is no such directory or checkpoint.
    """
    if name in EMBEDDED:
        directory, command = EMBEDDED[name]
        if not directory.is_dir():
            raise UserError(
                f"{field}: the checkpoint of {name!r} is not in this installation: make it with "
                f"`{command}`, or name another model"
            )
        return str(directory)
    if name.startswith("-"):  # a program would take it for one of its options
        raise UserError(f"{field}: {name!r} is no model: give a directory as ./{name}, or a hub id")
    if not Path(name).is_dir() and (
        close := difflib.get_close_matches(name, list(EMBEDDED), n=1, cutoff=0.85)
    ):
        raise UserError(f"{field}: {name!r} is no model: did you mean {close[0]!r}?")
    name = os.path.expanduser(name)
    path = Path(name)
    check_is_not_deleted(path, field=field)
    if _is_no_hub_id(name) and not path.is_dir():
        wrong = "is a file: name the directory that holds it" if path.exists() else "no such directory"
        raise UserError(f"{field}: {name}: {wrong}")
    if not (path / RECIPE).is_file():
        return name
    run = RunDirectory.read(path)
    if not (iteration := run.last_checkpoint()):
        raise UserError(
            f"{field}: the run {name} has no checkpoint yet: name a run that has finished an iteration"
        )
    return str(run.checkpoint(iteration))


def _is_no_hub_id(name: str) -> bool:
    """A hub id is a name, or an owner and a name."""
    return name.startswith(("/", ".", "~")) or name.count("/") > 1 or name.endswith("/")
