"""In: a transformers model. Out: a refusal by name, where a tree would not train it exactly.

Tree attention isolates the branches only where every layer is full softmax attention: a recurrent state runs on
across branches, and a sliding window counts rows instead of depth. What a short probe cannot tell, because it
shows on long sequences or large logits alone, is refused by its name in the model's configuration.
"""

from __future__ import annotations

from typing import Any

import torch

from turnmix.core.errors import UserError
from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.tree import RenderedTransition, build_tree

PROBE_TOLERANCE = 1e-3
"""Relative to the largest logit; float32 rounding stays below a hundredth of it."""
SHORT_FLOAT_TOLERANCE = 0.1
"""The same for a frozen model in 16 bits, whose rounding differs between kernels."""

INEXACT = {
    "attn_logit_softcapping": "its attention scores are capped",
    "final_logit_softcapping": "its logits are capped",
    "output_logit_soft_cap": "its logits are capped",
    "logits_soft_cap": "its logits are capped",
    "index_topk": "its attention chooses which tokens it sees",
    "keep_window_size": "its attention chooses which tokens it sees",
}
"""Fields of a configuration, and what they make of the model where they are set."""
LENGTH_DEPENDENT_ROPE = ("dynamic", "longrope")
"""Turn every token of a sequence by angles that depend on the sequence's length."""


def check_architecture(model: Any, *, field: str = "student.model") -> None:
    """Refuse `model` unless its logits on a tree are its logits on the tree's paths.

    Raises:
        UserError: names the layers or the setting in the way.
    """
    config = model.config
    if reason := _unsupported(model, config):
        raise UserError(
            f"{field}: {config.model_type!r} cannot be trained exactly on token trees: {reason}. "
            "Choose a causal language model whose layers are all full attention, such as Qwen3 or Llama."
        )
    difference = _probe(model)
    if difference > (PROBE_TOLERANCE if model.dtype is torch.float32 else SHORT_FLOAT_TOLERANCE):
        raise UserError(
            f"{field}: {config.model_type!r} gives other logits on a token tree than on its paths "
            f"(relative difference {difference:.1e}): its code does not take a custom attention, or "
            "scales its logits. Choose a model such as Qwen3 or Llama."
        )


def _unsupported(model: Any, config: Any) -> str | None:
    config = config.get_text_config()
    if layer_types := getattr(config, "layer_types", None):
        if others := sorted(set(layer_types) - {"full_attention"}):
            return f"its layer_types include {', '.join(others)}"
    elif getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"it has sliding_window={config.sliding_window}"
    if getattr(model, "_is_stateful", False):
        return "it has recurrent layers"
    if any(name.endswith("sinks") for name, _ in model.named_parameters()):
        return "its attention has sinks"
    for name, reason in INEXACT.items():
        if value := getattr(config, name, None):
            return f"{reason} ({name}={value})"
    rope = getattr(config, "rope_parameters", None) or {}
    if (kind := rope.get("rope_type")) in LENGTH_DEPENDENT_ROPE:
        return f"its position embeddings depend on the length of the sequence (rope_type={kind})"
    if not getattr(model, "_supports_attention_backend", True):
        return "its code does not look up its attention in transformers' attention interface"
    return None


@torch.no_grad()
def _probe(model: Any) -> float:
    """The largest relative difference of logits between a small forked tree and its two paths."""
    trunk = (1, 2, 3, 4, 5, 6, 7, 8)
    paths = [trunk, (*trunk[:5], 3, 1)]
    transitions = [
        RenderedTransition(prompt_ids=path, target_ids=(place,), group="") for place, path in enumerate(paths)
    ]
    batch = batch_trees([build_tree(transitions)], model.device)
    try:
        with tree_attention_in(model):
            logits_NV = model.get_output_embeddings()(tree_hidden_states(model, batch))
    except TypeError as error:
        raise UserError(
            f"student.model: {model.config.model_type!r} takes no custom attention ({error}). "
            "Choose a model such as Qwen3 or Llama."
        ) from None
    differences = []
    for row, place in zip(batch.label_rows.tolist(), batch.label_ids.tolist(), strict=True):
        alone_V = model(input_ids=torch.tensor([paths[place]], device=model.device)).logits[0, -1]
        differences.append(float((logits_NV[row] - alone_V).abs().max() / alone_V.abs().max()))
    return max(differences)
