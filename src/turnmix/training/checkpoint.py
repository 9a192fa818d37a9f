"""In: a student and its learner. Out: a directory in Hugging Face format, whole or not at all.

    checkpoint/
      config.json, model.safetensors    any transformers program loads them; LoRA is merged into them
      tokenizer files
      adapter/                          of LoRA, as peft writes it
      learner.pt                        optimiser state and step count, when a learner was given

It holds no generator: learning draws from the one that each fit is given, which the loop seeds by the recipe's
seed and the iteration.
"""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from turnmix.core.atomic_file import force_to_disk
from turnmix.core.errors import UserError
from turnmix.training.adapter import ADAPTER, is_adapted, merged_weights, read_adapter, save_adapter
from turnmix.training.checkpoint_files import LEARNER_FILE, without_learner
from turnmix.training.learner import Learner
from turnmix.training.weight_files import failure_line, give_modes, told_if_unwritten

_DAMAGE = (OSError, EOFError, KeyError, ValueError, RuntimeError, pickle.UnpicklingError, SafetensorError)


def save_checkpoint(directory: Path, *, model: Any, tokenizer: Any, learner: Learner | None = None) -> None:
    """Write `directory` under another name beside it, force it to the disk, then rename it into place.

    A kill at any moment leaves the whole checkpoint or none. One that is there already is replaced.

    Raises:
        CheckpointError: it cannot be written. Nothing of it is left.
    """
    partial = directory.parent / f".{directory.name}.partial"
    state = None if learner is None else learner.state_dict()
    with told_if_unwritten(f"the checkpoint {directory}", directory.parent):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            if is_adapted(model):
                model.save_pretrained(partial, state_dict=merged_weights(model))
                save_adapter(model, partial / ADAPTER)
            else:
                model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            if state is not None:
                # Through a file of Python's, which says why it cannot be written.
                with (partial / LEARNER_FILE).open("wb") as file:
                    torch.save(state, file)
            give_modes(partial)
            for path in [*partial.rglob("*"), partial]:
                force_to_disk(path)
            put_in_place(partial, directory)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def put_in_place(written: Path, directory: Path) -> None:
    """Rename `written`, which is on the disk, to `directory`. One that is there already is replaced."""
    replaced = directory.parent / f".{directory.name}.replaced"
    shutil.rmtree(replaced, ignore_errors=True)
    if directory.exists():
        directory.rename(replaced)
    written.rename(directory)
    force_to_disk(directory.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def restore_learner(directory: Path, learner: Learner) -> None:
    """Give `learner` the optimiser state, step count and adapter of a checkpoint. Without an adapter its model
    is the checkpoint's, with one it is the base model. Every rank calls this.

    Raises:
        UserError: the checkpoint has no learner, a damaged one, or one of another model.
    """
    path = directory / LEARNER_FILE
    try:
        # Mapped, each rank reads its own part, and one host's ranks share what they read.
        is_shared = learner.num_ranks > 1
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_shared)
        adapter = read_adapter(directory / ADAPTER) if is_adapted(learner.model) else None
        learner.load_state_dict(state, adapter=adapter)
    except _DAMAGE as error:
        raise UserError(
            f"{path} cannot be loaded ({failure_line(error)}): {without_learner(directory)}"
        ) from error
