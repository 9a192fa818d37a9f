"""Passes in bfloat16 over weights in float32: what a pass multiplies and keeps is short, what it updates is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def short_passes(model: Any, device: torch.device, *, is_enabled: bool) -> Iterator[None]:
    """Passes of `model` inside compute in bfloat16.

    What runs from layer to layer is the sum of all layers before, which embeddings in float32 would hold in float32:
    with recomputation that is nearly all that is kept. A weight is used once a pass, so none is kept in bfloat16.
    """
    if not is_enabled:
        yield
        return

    def shortened(module: torch.nn.Module, arguments: Any, embedded: Tensor) -> Tensor:
        return embedded.to(torch.bfloat16)

    hook = model.get_input_embeddings().register_forward_hook(shortened)
    try:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            yield
    finally:
        hook.remove()
