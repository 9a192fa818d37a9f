"""Layers that compute their activations again in the backward pass instead of keeping them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.modeling_layers import GradientCheckpointingLayer


def enable_recomputation(model: Any) -> None:
    """Let the layers of `model` recompute inside `recomputing`. They lose the dropout that they do themselves."""
    # Older versions of transformers know the second name alone, newer ones deprecate it.
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable({"use_reentrant": False})
    else:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for layer in _layers(model):
        for name, value in vars(layer).items():
            if "dropout" in name and isinstance(value, float):
                setattr(layer, name, 0.0)


@contextmanager
def recomputing(model: Any, *, is_enabled: bool) -> Iterator[None]:
    """Layers recompute inside, as they do only while they train; the modules within them stay as they are, since
    dropout lies there."""
    layers = _layers(model) if is_enabled else []
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def _layers(model: Any) -> list[Any]:
    return [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
