"""How much memory learning takes, estimated from a model's size.

Full training holds weights, gradients and AdamW's two moments in float32: 16 bytes a parameter. With LoRA it holds
the weights, 4 bytes each, and 16 for each parameter of the small matrices. Beside that come activations: with
checkpointing one hidden state a layer and token, else some thirty.

>>> size = ModelSize(parameters=4.0e9, hidden=2560, layers=36)
>>> round(learning_bytes(size, is_lora=False, tokens=8192, is_checkpointing=True) / 1e9)
67
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.bounded_file import read_bounded
from turnmix.core.json_text import MOST_BYTES, json_value

FULL_BYTES, FROZEN_BYTES = 16, 4
LORA_SHARE = 0.01
ACTIVATIONS, CHECKPOINTED = 34, 4
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What an estimate needs to know of a model."""

    parameters: float
    hidden: int
    layers: int


def size_of(name: str, configuration: Path | None) -> ModelSize | None:
    """By the model's configuration, else by its name; None: neither tells.

    >>> size_of("Qwen/Qwen3-Coder-30B-A3B-Instruct", None).parameters
    30000000000.0
    """
    if configuration is not None:
        try:
            return _configured(json_value(read_bounded(configuration, most=MOST_BYTES)))
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, AttributeError, OverflowError):
            pass
    if not (match := re.search(r"(\d+(?:\.\d+)?)[Bb](?![a-z])", name.rpartition("/")[2])):
        return None
    parameters = float(match[1]) * 1e9
    # Dense models of one to ten billion: width and depth grow with the cube root.
    return ModelSize(parameters=parameters, hidden=int(1600 * (parameters / 1e9) ** (1 / 3)), layers=36)


def _configured(data: dict[str, Any]) -> ModelSize:
    hidden, layers = data["hidden_size"], data["num_hidden_layers"]
    head = data.get("head_dim") or hidden // data["num_attention_heads"]
    queries = data["num_attention_heads"] * head
    keys = data.get("num_key_value_heads", data["num_attention_heads"]) * head
    experts, width = (
        data.get("num_experts") or 1,
        data.get("moe_intermediate_size") or data["intermediate_size"],
    )
    layer = 2 * hidden * (queries + keys) + 3 * hidden * width * experts
    words = data["vocab_size"] * hidden * (1 if data.get("tie_word_embeddings") else 2)
    return ModelSize(parameters=float(layers * layer + words), hidden=hidden, layers=layers)


def learning_bytes(size: ModelSize, *, is_lora: bool, tokens: int, is_checkpointing: bool) -> float:
    """Of one process that learns alone."""
    bytes_each = FROZEN_BYTES + LORA_SHARE * FULL_BYTES if is_lora else FULL_BYTES
    activations = tokens * size.hidden * size.layers * (CHECKPOINTED if is_checkpointing else ACTIVATIONS)
    return size.parameters * bytes_each + activations


def serving_bytes(size: ModelSize, dtype: str) -> float:
    """Of a server: the weights and half as much again for its cache."""
    return 1.5 * size.parameters * BYTES.get(dtype, 2)
