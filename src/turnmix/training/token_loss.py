"""What a taught token adds to the loss (paper Eq. 14): from its logits, its weight, and what others gave it.

    cross_entropy  −w · log π                                           SFT, DAgger, AggreVaTe, OEC: w = 1
    clipped_ratio  −min(r·w, clip(r, 1−ε_low, 1+ε_high)·w)              GRPO: w = advantage, r = π / π_sampling
                   and for w < 0, with dual clip c, no less than c·w
    reverse_kl     −stop_grad(log π_teacher − log π) · log π            OPD, estimate `sampled` (Eq. 22)
                   the clipped ratio, w = stop_grad(log π_teacher − log π)   the same, with `ratio`
                   Σ_v π(v) · (log π(v) − log π_teacher(v))             OPD, estimates `top_k` and `full`

In: some taught tokens of a batch. Out: the loss of each, and figures of each. Which tokens are put together depends on
the memory there is, so what a loss says of one token must depend on that token alone. Each token's share in the mean is
no business of the loss. log π is at temperature 1, but in r: there it is at the temperature of sampling, logits divided
by it, so that r = 1 where nothing was learned yet. Student and teacher are compared at 1, so that a teacher with the
student's weights has nothing to teach.

The estimate `sampled` has the gradient of (log π − log π_teacher)² / 2 at each sampled token, given the tokens. With
tokens of π itself, at temperature 1, its mean is the gradient of the divergence at each token (per token: no token is
credited with what later tokens of its turn meet). With tokens of an older π, which is every step of an iteration but
its first, or of another temperature, it still draws log π to log π_teacher where that student went, and is 0 where
they agree: so it is safe without a ratio, and not the divergence of today's π. `ratio` makes the tokens count as
today's student would sample them, up to the clip.

Legend: C tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from turnmix.policies.scoring import LOWEST_LOGPROB

LARGEST_LOG_RATIO = 20.0
"""A ratio of probabilities is bounded to e^±20 = 5e8: beyond, the token was not sampled from what it is said to be,
it has no gradient, and the loss stays a number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaughtTokens:
    """Some taught tokens, each with what is known of it."""

    logits_CV: Tensor
    """The student's in the state before each token, in float32. They carry the gradient."""
    ids_C: Tensor
    """The tokens."""
    weights_C: Tensor
    """w of Eq. 14, as the method gave it."""
    sampled_C: Tensor | None = None
    """log π of each under the student that sampled it, at the temperature of sampling; None: the objective's settings
    do not ask for it (`has_ratio`)."""
    teacher_C: Tensor | None = None
    """log π of each under the teacher; None: not asked for (`needs_scores`)."""
    teacher_CV: Tensor | None = None
    """The teacher's logits there; None: no teacher runs beside the student (`runs_teacher`)."""

    def logprobs(self, *, vocabulary: int | None = None, temperature: float = 1.0) -> Tensor:
        """log π of each token, over the first `vocabulary` tokens, at a temperature; with its gradient."""
        logits_CV = self.logits_CV[:, :vocabulary]
        if temperature != 1:
            logits_CV = logits_CV / temperature
        return -cross_entropy(logits_CV, self.ids_C, reduction="none")


TokenLoss = Callable[[TaughtTokens], "Tensor | tuple[Tensor, ...]"]
"""The loss of each token, [C]; behind it, where the settings name `figures`, each of those, [C]."""


class CrossEntropy:
    """−w · log π."""

    def __call__(self, tokens: TaughtTokens) -> tuple[Tensor, ...]:
        return -tokens.logprobs() * tokens.weights_C, tokens.weights_C


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Where a ratio ends to count: below 1 − low, above 1 + high, and for a weight below 0 at `dual`."""

    low: float
    high: float
    dual: float | None = None

    def gains(self, log_ratios_C: Tensor, weights_C: Tensor) -> tuple[Tensor, Tensor]:
        """What each token gains by its ratio and weight, and whether its gradient is clipped off."""
        ratios_C = log_ratios_C.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
        gains_C = ratios_C * weights_C
        clipped_C = ratios_C.clamp(1 - self.low, 1 + self.high) * weights_C
        is_clipped_C, kept_C = clipped_C < gains_C, torch.minimum(gains_C, clipped_C)
        if self.dual is not None:
            is_too_low_C = (weights_C < 0) & (kept_C < self.dual * weights_C)
            kept_C = torch.where(is_too_low_C, self.dual * weights_C, kept_C)
            is_clipped_C = is_clipped_C | is_too_low_C
        return kept_C, is_clipped_C


class ClippedRatio:
    """−min(r·w, clip(r)·w)."""

    def __init__(self, clip: Clip, *, temperature: float) -> None:
        self._clip = clip
        self._temperature = temperature

    def __call__(self, tokens: TaughtTokens) -> tuple[Tensor, ...]:
        assert tokens.sampled_C is not None
        log_ratios_C = tokens.logprobs(temperature=self._temperature) - tokens.sampled_C
        gains_C, is_clipped_C = self._clip.gains(log_ratios_C, tokens.weights_C)
        return -gains_C, tokens.weights_C, is_clipped_C


class SampledDivergence:
    """Reverse KL by the sampled tokens alone."""

    def __init__(self, clip: Clip | None, *, vocabulary: int | None, temperature: float) -> None:
        """`clip`: of the ratio; None: there is no ratio."""
        self._clip = clip
        self._vocabulary = vocabulary
        self._temperature = temperature

    def __call__(self, tokens: TaughtTokens) -> tuple[Tensor, ...]:
        assert tokens.teacher_C is not None
        logprobs_C = tokens.logprobs(vocabulary=self._vocabulary)
        advantages_C = tokens.weights_C * (tokens.teacher_C - logprobs_C.detach())
        if self._clip is None:
            return -logprobs_C * advantages_C, -advantages_C
        assert tokens.sampled_C is not None
        log_ratios_C = tokens.logprobs(temperature=self._temperature) - tokens.sampled_C
        gains_C, is_clipped_C = self._clip.gains(log_ratios_C, advantages_C)
        return -gains_C, -advantages_C, is_clipped_C


class Divergence:
    """Reverse KL over the vocabulary, or the student's likeliest tokens of it."""

    def __init__(self, *, vocabulary: int | None, top_k: int | None) -> None:
        self._vocabulary = vocabulary
        self._top_k = top_k

    def __call__(self, tokens: TaughtTokens) -> tuple[Tensor, ...]:
        assert tokens.teacher_CV is not None
        shared = slice(self._vocabulary)
        divergence_C = reverse_kl(tokens.logits_CV[:, shared], tokens.teacher_CV[:, shared], self._top_k)
        losses_C = tokens.weights_C * divergence_C
        return losses_C, losses_C


def reverse_kl(logits_CV: Tensor, others_CV: Tensor, top_k: int | None = None) -> Tensor:
    """KL(softmax(logits) ‖ softmax(others)) [C], in nats. `top_k`: over the k tokens that the first finds
    likeliest, and all others taken as one more token; never more than the whole KL.

    >>> halves, quarters = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    >>> round(reverse_kl(halves, quarters).item(), 4)  # 0.5 log 2 + 0 − 0.25 log 2
    0.1733
    >>> round(reverse_kl(halves, quarters, top_k=1).item(), 4)  # 0.5 log 2 + 0.5 log (0.5 / 0.75)
    0.1438
    """
    ours, theirs = logits_CV.log_softmax(-1), others_CV.log_softmax(-1).clamp(min=LOWEST_LOGPROB)
    if top_k is not None and top_k < ours.shape[-1]:
        likeliest = ours.detach().topk(top_k).indices
        ours, theirs = _with_rest(ours.gather(-1, likeliest)), _with_rest(theirs.gather(-1, likeliest))
    return (ours.exp() * (ours - theirs)).sum(-1)


def _with_rest(logprobs_CK: Tensor) -> Tensor:
    """The tokens' log-probabilities and, behind them, that of none of them."""
    rest_C1 = (1 - logprobs_CK.exp().sum(-1, keepdim=True)).clamp(min=1e-9).log()
    return torch.cat([logprobs_CK, rest_C1], dim=-1)
