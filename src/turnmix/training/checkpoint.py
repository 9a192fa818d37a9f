"""A student and its learner enter, a directory in Hugging Face format leaves, or comes back: whole or not at
all.

    checkpoint/
      config.json, model.safetensors, tokenizer files    any transformers program loads them learner.pt
      optimiser state and step count, when a learner was given
"""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from turnmix.core.errors import UserError
from turnmix.training.learner import Learner

LEARNER_FILE = "learner.pt"


def save_checkpoint(directory: Path, *, model: Any, tokenizer: Any, learner: Learner | None = None) -> None:
    """Write `directory` under another name beside it, force it to the disk, then rename it into place.

    A kill at any moment leaves the whole checkpoint or none. One that is there already is replaced.
    """
    partial = directory.parent / f".{directory.name}.partial"
    replaced = directory.parent / f".{directory.name}.replaced"
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if learner is not None:
        torch.save(learner.state_dict(), partial / LEARNER_FILE)
    for path in [*partial.rglob("*"), partial]:
        _force_to_disk(path)
    if directory.exists():
        directory.rename(replaced)
    partial.rename(directory)
    _force_to_disk(directory.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def load_student(name_or_path: str | Path) -> tuple[Any, Any]:
    """The model in float32 and the tokenizer of a checkpoint directory or a hub id.

    Raises:
        UserError: there is none, or it is damaged, or it is no causal language model.
    """
    name = str(name_or_path)
    remedy = "give the directory of a checkpoint in Hugging Face format, or a hub id that can be reached"
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"student.model: {name} cannot be loaded ({_first_line(error)}): {remedy}") from error
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"student.model: {name} lacks {len(missing)} weights, such as {missing[0]}: {remedy}")
    return model.eval(), tokenizer


def restore_learner(directory: Path, learner: Learner) -> None:
    """Give `learner` the optimiser state and step count of a checkpoint. Its model's weights come from
    `load_student`.

    Raises:
        UserError: the checkpoint has no learner, a damaged one, or one of another model.
    """
    path = directory / LEARNER_FILE
    remedy = "resume from an earlier checkpoint, or start a new run from this one's weights"
    try:
        state = torch.load(path, map_location=learner.model.device, weights_only=True)
        learner.load_state_dict(state)
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be loaded ({_first_line(error)}): {remedy}") from error


def _force_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
