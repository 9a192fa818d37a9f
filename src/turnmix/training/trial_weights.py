"""Other weights than the student's, for a moment: what its server is tried with before a run depends on renewals.

In: the student's model, what its server holds now. Out: weights in a directory that differ in every row of every
matrix, so that a server which keeps a part of the old ones tells other log-probabilities; and those that are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from turnmix.policies.local.token_logprobs import token_logprobs
from turnmix.policies.server.engine import Weights
from turnmix.policies.server.verification import OwnLogprobs
from turnmix.training.adapter import ADAPTER, is_adapted, save_adapter
from turnmix.training.weight_files import give_modes, told_if_unwritten

SPREAD = 0.1
"""Of the factor of each row around 1: logits move by far more than 16 bits round them, and stay in their order."""
ADAPTER_SPREAD = 0.02
"""Of what is added to each B of LoRA, which is 0 before any training."""


@contextmanager
def trial_weights(
    model: Any, held: Weights, directory: Path, *, tokenizer: Any, dtype: torch.dtype
) -> Iterator[tuple[Weights, OwnLogprobs]]:
    """The other weights, and log π of tokens by them; inside alone. `dtype`: what the server computes in.

    Of LoRA they are another adapter; `model` then computes by it inside. Else they are a whole model, with its
    `tokenizer`, as a checkpoint is.

    Raises:
        CheckpointError: they cannot be written.
    """
    generator = torch.Generator().manual_seed(0)
    written = told_if_unwritten(f"what the student's server is tried with, {directory},", directory.parent)
    if is_adapted(model):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items() if ".lora_B." in name}
        try:
            for name, tensor in model.state_dict().items():
                if name in before:
                    noise = torch.randn(tensor.shape, generator=generator)
                    tensor += ADAPTER_SPREAD * noise.to(tensor)
            with written:
                directory.mkdir(parents=True)
                save_adapter(model, directory / ADAPTER)
                give_modes(directory)
            yield replace(held, adapter=str(directory / ADAPTER)), partial(token_logprobs, model)
        finally:
            model.load_state_dict(before, strict=False)
        return
    with written:
        directory.mkdir(parents=True)
        model.save_pretrained(directory, state_dict=_scaled(model, generator, dtype))
        tokenizer.save_pretrained(directory)
        give_modes(directory)
    other = type(model).from_pretrained(
        directory,
        dtype=torch.float32,
        attn_implementation="sdpa",
        use_safetensors=True,
        trust_remote_code=False,
    )
    device = model.device if _has_room(model) else torch.device("cpu")
    yield replace(held, location=str(directory)), partial(token_logprobs, other.to(device).eval())


def _has_room(model: Any) -> bool:
    """Does a second model fit on its device? Nothing of a pass lies there yet."""
    if model.device.type != "cuda":
        return True
    needed = 4 * sum(parameter.numel() for parameter in model.parameters())
    return bool(torch.cuda.mem_get_info(model.device)[0] > 1.2 * needed)


def _scaled(model: Any, generator: torch.Generator, dtype: torch.dtype) -> dict[str, Tensor]:
    """On the CPU, each row by a factor of its own; a tensor that stands in two places stays one."""
    found: dict[int, Tensor] = {}
    scaled = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in found:
            factors = 1 + SPREAD * torch.randn(tensor.shape[:1], generator=generator)
            rows = factors.reshape(-1, *[1] * (tensor.ndim - 1)).to(tensor)
            found[tensor.data_ptr()] = (tensor * rows).to("cpu", dtype)
        scaled[name] = found[tensor.data_ptr()]
    return scaled
