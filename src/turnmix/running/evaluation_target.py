"""In: what `turnmix evaluate` is given: a run, a checkpoint, any model. Out: where its student lies, and where an
evaluation of it goes."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.store.deleted_checkpoint import check_is_not_deleted
from turnmix.store.place import RECIPE, resume_command
from turnmix.store.run_directory import EVALUATION, RunDirectory
from turnmix.store.versions import when_begun

FOLDER = "evaluations"
TEACHER = "teacher"
"""In the place of a model: the recipe's teacher acts."""
OWN = "own"
"""In the place of a recipe's name: that of the run itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be evaluated."""

    model: str | None
    """What takes the place of `student.model`; None: the model that the run's recipe names, nothing learned yet."""
    recipe: str | None
    """By which it was trained; None: not known."""
    folder: Path
    name: str
    """The checkpoint's, or the model's."""
    run: Path | None = None
    begun: datetime | None = None
    """What templates showed as now when it was trained; None: not known."""

    def directory(self, recipe: str | None) -> Path:
        """Where its evaluation goes by the recipe whose file is called so; None: by its own."""
        stem = OWN if recipe is None else recipe
        parts = (self.name, stem) if self.recipe is None else (stem, self.name)
        return self.folder / "-".join(re.sub(r"[^\w.-]+", "-", part) for part in parts)


def acting_teacher(target: str) -> str | None:
    """An override that makes the recipe's teacher the one who is to act; None: `target` is a run or a model.

    >>> acting_teacher("teacher"), acting_teacher("https://host/v1"), acting_teacher("runs/demo")
    ('', 'teacher.endpoint=https://host/v1', None)
    """
    if target == TEACHER:
        return ""
    return f"teacher.endpoint={target}" if target.startswith(("http://", "https://")) else None


def located(target: str) -> Target:
    """Raises UserError: an evaluation is no run."""
    path = Path(target)
    if (path / EVALUATION).is_file():
        raise UserError(
            f"{target} holds an evaluation, not a run: name the run or the model; to look at it: turnmix show {target}"
        )
    if (path / RECIPE).is_file():
        with closing(RunDirectory.read(path)) as run:
            iteration, trained = run.last_checkpoint(), run.last_trained()
            checkpoint = run.checkpoint(iteration) if iteration else None
        if trained and checkpoint is None:
            # The base model is not what was asked for, though it is all that is here.
            raise UserError(
                f"{target} was trained up to iteration {trained}, and holds no whole checkpoint: put one back, have it "
                f"made again ({resume_command(path)}), or name a model"
            )
        return _of_run(path, model=None if checkpoint is None else str(checkpoint))
    above = path.resolve().parent.parent
    if path.is_dir() and (above / RECIPE).is_file():
        # As it was named, where that leads there.
        run_path = path.parent.parent if path.parent.parent.resolve() == above else above
        return _of_run(run_path, model=target)
    check_is_not_deleted(path)
    return Target(model=target, recipe=None, folder=Path(FOLDER), name=path.name or path.resolve().name)


def _of_run(run: Path, *, model: str | None) -> Target:
    name = "base" if model is None else Path(model).resolve().name
    return Target(
        model=model, recipe=str(run / RECIPE), folder=run / FOLDER, name=name, run=run, begun=when_begun(run)
    )
