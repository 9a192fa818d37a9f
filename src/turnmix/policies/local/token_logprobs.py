"""Log π of the tokens of one sequence, by a model in this process, in one plain forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def token_logprobs(model: Any, token_ids: Sequence[int]) -> list[float]:
    """Of each token but the first, given those before it; at temperature 1."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ids_1T = torch.tensor([list(token_ids)], device=model.device)
            logits_TV = model(input_ids=ids_1T).logits[0, :-1].float()
    finally:
        model.train(was_training)
    logprobs_TV = logits_TV.log_softmax(-1)
    return [float(logprob) for logprob in logprobs_TV.gather(1, ids_1T[0, 1:, None])[:, 0]]
