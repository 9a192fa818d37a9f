"""One token a row from its logits: greedily, or by temperature, top-p and the row's own uniform number.

Legend: N rows, V vocabulary, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import torch

_CANDIDATES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn."""

    temperature: float
    top_p: float
    greedy: bool
    vocabulary: int
    """Tokens from here on are padding: never drawn."""

    def draw(self, logits_NV: torch.Tensor, uniforms_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [N] and their log π at the sampling temperature (greedy: 1) [N], float32, before top-p."""
        logits_NV = logits_NV.float()
        if not self.greedy:
            logits_NV = logits_NV / self.temperature
        known_NV = logits_NV[:, : self.vocabulary]
        tokens_N = known_NV.argmax(-1) if self.greedy else self._sample(known_NV, uniforms_N)
        chosen_N = logits_NV.gather(1, tokens_N[:, None])[:, 0]
        return tokens_N, chosen_N - logits_NV.logsumexp(-1)

    def _sample(self, scaled_NV: torch.Tensor, uniforms_N: torch.Tensor) -> torch.Tensor:
        """The inverse of the cumulative distribution, at each row's uniform number, over the top-p set."""
        total_N1 = scaled_NV.logsumexp(-1, keepdim=True)
        vocabulary = scaled_NV.shape[1]
        count = vocabulary if self.top_p >= 1 else min(_CANDIDATES, vocabulary)
        while True:
            top_NK, candidates_NK = scaled_NV.topk(count)
            cumulative_NK = (top_NK - total_N1).exp().cumsum(-1)
            # The top-p set rarely leaves the first candidates; when it does, all are sorted.
            if count == vocabulary or bool((cumulative_NK[:, -1] >= self.top_p).all()):
                break
            count = vocabulary
        last_N1 = (cumulative_NK < self.top_p).sum(-1, keepdim=True).clamp(max=count - 1)
        mass_N1 = cumulative_NK.gather(1, last_N1)
        drawn_N1 = (cumulative_NK <= uniforms_N[:, None] * mass_N1).sum(-1, keepdim=True)
        return candidates_NK.gather(1, torch.minimum(drawn_N1, last_N1))[:, 0]


def turn_uniforms(seed: int, turn: int, count: int) -> torch.Tensor:
    """The uniform numbers of one turn of one trajectory, float32 in [0, 1).

    They depend on nothing but the seed and the turn, so a turn draws the same whatever was drawn before it.
    """
    generator = numpy.random.default_rng((abs(seed), turn))
    return torch.from_numpy(generator.random(count, dtype=numpy.float32))
