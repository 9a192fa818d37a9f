"""In: a run's checkpoint. Out: a directory to load, to serve and to publish: weights, tokenizer, a model card.

What a resumed run alone needs, the optimiser's state, stays where it is. Nothing is followed out of the run: a link
in a run from elsewhere could name any file, which would then be published.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import closing
from pathlib import Path

from turnmix.core.atomic_file import force_to_disk
from turnmix.core.errors import UserError
from turnmix.recipe.found_recipe import publishable
from turnmix.recipe.recipe_file import read_recipe
from turnmix.store.place import RECIPE, resume_command
from turnmix.store.record_files import read_summary
from turnmix.store.run_directory import CHECKPOINTS, SUMMARY, RunDirectory
from turnmix.training.adapter import ADAPTER
from turnmix.training.checkpoint_files import LEARNER_FILE, whole_checkpoints
from turnmix.viewing.model_card import model_card

CARD = "README.md"


def export_model(
    run: Path,
    output: Path,
    *,
    iteration: int | None = None,
    is_adapter: bool = False,
    name: str | None = None,
) -> Path:
    """Write `output`, whole or not at all. `iteration`: whose checkpoint; None: the last one's. `is_adapter`: the LoRA
    adapter alone, in place of the merged weights. `name`: what the card calls the model; None: as `output` is called.

    Raises:
        UserError: the run has no such checkpoint, or no adapter; or something is at `output` already.
    """
    with closing(RunDirectory.read(run)) as directory:
        iterations = whole_checkpoints(run / CHECKPOINTS)
        wanted = directory.last_checkpoint() if iteration is None else iteration
        checkpoint = directory.checkpoint(wanted)
    if wanted not in iterations:
        held = (
            f"it holds those of iterations {', '.join(map(str, iterations))}"
            if iterations
            else "it holds none"
        )
        raise UserError(f"--iteration {wanted}: {run} has no whole checkpoint of it: {held}")
    if output.exists() or output.is_symlink():
        raise UserError(f"--output {output}: something is there already: name another place, or delete it")
    source = checkpoint / ADAPTER if is_adapter else checkpoint
    for place in (run / CHECKPOINTS, checkpoint, source):
        if place.is_symlink():
            raise UserError(
                f"{place} is a symbolic link, which is not followed: put what it leads to in its place"
            )
    if not source.is_dir():
        raise UserError(
            f"--adapter: {checkpoint} holds none, since the run trained all weights (learner.lora is not set): leave "
            "--adapter out"
        )
    summary = read_summary(run / SUMMARY, fix=f"delete it, and go on with: {resume_command(run)}")
    recipe = read_recipe(run / RECIPE)
    data = recipe.get("data")
    card = model_card(
        publishable(recipe),
        is_imported=isinstance(data, dict) and data.get("messages") is not None,
        summary=summary,
        iteration=wanted,
        name=name or output.name,
        is_adapter=is_adapter,
    )
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            if entry.name not in (LEARNER_FILE, ADAPTER, CARD):
                _copy(entry, partial / entry.name)
        (partial / CARD).write_text(card, encoding="utf-8")
        for path in [*partial.iterdir(), partial]:
            force_to_disk(path)
        partial.rename(output)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return output


def _copy(entry: os.DirEntry[str], to: Path) -> None:
    if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
        raise UserError(f"{entry.path} is no regular file: put the file itself in its place")
    shutil.copyfile(entry.path, to, follow_symlinks=False)
