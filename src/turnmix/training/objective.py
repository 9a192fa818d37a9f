"""The objective (paper Eq. 14): what a taught token adds to the loss, from its logits, its weight and what
other policies gave it.

    cross_entropy  −w · log π                                           SFT, DAgger, AggreVaTe, OEC: w = 1
    clipped_ratio  −min(r·w, clip(r, 1−ε_low, 1+ε_high)·w)              GRPO: w = advantage, r = π / π_sampling
                   and for w < 0, with dual clip c, no less than c·w
    reverse_kl     −stop_grad(log π_teacher − log π) · log π            OPD, estimate `sampled` (Eq. 22)
                   the clipped ratio, w = stop_grad(log π_teacher − log π)   the same, with `ratio`
                   Σ_v π(v) · (log π(v) − log π_teacher(v))             OPD, estimates `top_k` and `full`
    regulariser    + λ · Σ_v π(v) · (log π(v) − log π_base(v))          any of them, where λ > 0

In: hidden states of a batch of trees, and its labels. Out: sums over its labels, each by its share. Who divides
them by all shares of the whole optimiser step, over all its passes and processes, gets means whose gradient depends
neither on how trees are grouped nor on how they are split. log π is at temperature 1, but in r: there it is at the
temperature of sampling, logits divided by it, so that r = 1 where nothing was learned yet. Student and teacher are
compared at 1, so that a teacher with the student's weights has nothing to teach.

The estimate `sampled` has the gradient of (log π − log π_teacher)² / 2 at each sampled token, given the tokens. With
tokens of π itself, at temperature 1, its mean is the gradient of the divergence at each token (per token: no token is
credited with what later tokens of its turn meet). With tokens of an older π, which is every step of an iteration but
its first, or of another temperature, it still draws log π to log π_teacher where that student went, and is 0 where
they agree: so it is safe without a ratio, and not the divergence of today's π. `ratio` makes the tokens count as
today's student would sample them, up to the clip.

Legend: N rows, L labels, C labels of a chunk, D hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from turnmix.methods.objective_settings import ObjectiveSettings
from turnmix.policies.scoring import LOWEST_LOGPROB
from turnmix.training.attention import TreeBatch, tree_attention_in, tree_hidden_states
from turnmix.training.loss import sum_over_labels

CLIP_SHARE = "clip_share"
LARGEST_LOG_RATIO = 20.0
"""A ratio of probabilities is bounded to e^±20 = 5e8: beyond, the token was not sampled from what it is said to be,
it has no gradient, and the loss stays a number."""


class Objective:
    """Computes the terms of one batch. Its other models are frozen and run on the student's own trees."""

    def __init__(
        self,
        settings: ObjectiveSettings | None = None,
        *,
        teacher: Any = None,
        base: Any = None,
        vocabulary: int | None = None,
        temperature: float = 1.0,
    ) -> None:
        """`teacher`: a model, for reverse KL over several tokens. `base`: the student before training, for
        the regulariser. `vocabulary`: the tokens that student and teacher share; logits behind them are padding.
        `temperature`: at which the student sampled.
        """
        self.settings = settings or ObjectiveSettings()
        self._teacher = teacher
        self._base = base
        self._vocabulary = vocabulary
        self._temperature = temperature
        if self.settings.runs_teacher and teacher is None:
            raise ValueError(f"estimate {self.settings.estimate!r} needs a teacher model")
        if self.settings.kl_weight and base is None:
            raise ValueError(f"kl_weight {self.settings.kl_weight} needs the base model")
        name = "kl_teacher" if self.settings.kind == "reverse_kl" else "mean_weight"
        clipping = (CLIP_SHARE,) if self.settings.has_ratio else ()
        regulariser = ("kl_base",) if self.settings.kl_weight else ()
        self.figures: tuple[str, ...] = (name, *clipping, *regulariser)
        """What the terms behind the loss are, each a sum by shares: divided by all shares it is the mean weight or
        the mean KL in nats, the share of tokens whose gradient is clipped off, the mean KL in nats."""

    @property
    def needs_references(self) -> bool:
        """Must each transition bring `reference_logprobs`?"""
        return self.settings.kind == "clipped_ratio" or self.settings.needs_scores

    @property
    def needs_sampled(self) -> bool:
        """Must each transition bring `sampled_logprobs` too?"""
        return self.settings.needs_scores and self.settings.has_ratio

    def terms(self, hidden_ND: Tensor, head: Any, batch: TreeBatch) -> Tensor:
        """[1 + number of figures]: the loss, then the figures; sums over the batch's labels."""
        teacher = self._frozen_logits(self._teacher if self.settings.runs_teacher else None, batch)
        base = self._frozen_logits(self._base if self.settings.kl_weight else None, batch)

        def terms(logits_CV: Tensor, place: slice) -> Tensor:
            ids_C, weights_C = batch.label_ids[place], batch.label_weights[place]
            shares_C, references_C = batch.label_shares[place], batch.label_references[place]
            if self.settings.kind == "cross_entropy":
                losses_C, figures = self._cross_entropy(logits_CV, ids_C, weights_C)
            elif self.settings.kind == "clipped_ratio":
                losses_C, figures = self._clipped_ratio(logits_CV, ids_C, weights_C, shares_C, references_C)
            elif teacher is None:
                sampled_C = batch.label_sampled[place]
                losses_C, figures = self._sampled_kl(
                    logits_CV, ids_C, weights_C, shares_C, references_C, sampled_C
                )
            else:
                losses_C, figures = self._full_kl(logits_CV, weights_C, teacher(place))
            loss = losses_C.sum()
            if base is not None:
                drift = (reverse_kl(logits_CV, base(place)) * shares_C).sum()
                loss = loss + self.settings.kl_weight * drift
                figures = (*figures, drift)
            return torch.stack([loss, *(figure.detach() for figure in figures)])

        return sum_over_labels(hidden_ND.index_select(0, batch.label_rows), head, terms)

    def _cross_entropy(
        self, logits_CV: Tensor, ids_C: Tensor, weights_C: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        return cross_entropy(logits_CV, ids_C, reduction="none") * weights_C, (weights_C.sum(),)

    def _clipped_ratio(
        self, logits_CV: Tensor, ids_C: Tensor, weights_C: Tensor, shares_C: Tensor, sampled_C: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        surprises_C = cross_entropy(self._tempered(logits_CV), ids_C, reduction="none")
        gains_C, is_clipped_C = self._clipped_gains(-surprises_C - sampled_C, weights_C)
        return -gains_C, (weights_C.sum(), (shares_C * is_clipped_C).sum())

    def _sampled_kl(
        self,
        logits_CV: Tensor,
        ids_C: Tensor,
        weights_C: Tensor,
        shares_C: Tensor,
        teacher_C: Tensor,
        sampled_C: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        surprises_C = cross_entropy(logits_CV[:, : self._vocabulary], ids_C, reduction="none")
        advantages_C = weights_C * (teacher_C + surprises_C.detach())
        divergence = -advantages_C.sum()
        if not self.settings.has_ratio:
            return surprises_C * advantages_C, (divergence,)
        acting_C = cross_entropy(self._tempered(logits_CV), ids_C, reduction="none")
        gains_C, is_clipped_C = self._clipped_gains(-acting_C - sampled_C, advantages_C)
        return -gains_C, (divergence, (shares_C * is_clipped_C).sum())

    def _clipped_gains(self, log_ratios_C: Tensor, weights_C: Tensor) -> tuple[Tensor, Tensor]:
        """What each token gains by its ratio and weight, and whether its gradient is clipped off."""
        low, high, most = self.settings.clip_low, self.settings.clip_high, self.settings.dual_clip
        assert low is not None
        assert high is not None
        ratios_C = log_ratios_C.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
        gains_C, clipped_C = ratios_C * weights_C, ratios_C.clamp(1 - low, 1 + high) * weights_C
        is_clipped_C, kept_C = clipped_C < gains_C, torch.minimum(gains_C, clipped_C)
        if most is not None:
            is_too_low_C = (weights_C < 0) & (kept_C < most * weights_C)
            kept_C = torch.where(is_too_low_C, most * weights_C, kept_C)
            is_clipped_C = is_clipped_C | is_too_low_C
        return kept_C, is_clipped_C

    def _tempered(self, logits_CV: Tensor) -> Tensor:
        """As the student sampled from them."""
        return logits_CV if self._temperature == 1 else logits_CV / self._temperature

    def _full_kl(
        self, logits_CV: Tensor, weights_C: Tensor, teacher_CV: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        shared = slice(self._vocabulary)
        losses_C = weights_C * reverse_kl(logits_CV[:, shared], teacher_CV[:, shared], self.settings.top_k)
        return losses_C, (losses_C.sum(),)

    def _frozen_logits(self, model: Any, batch: TreeBatch) -> Any:
        """A function from a slice of the labels to a frozen model's logits [C, V] there; None without one."""
        if model is None:
            return None
        with torch.no_grad(), tree_attention_in(model):
            hidden_LD = tree_hidden_states(model, batch).index_select(0, batch.label_rows)
        head = model.get_output_embeddings()

        def logits(place: slice) -> Tensor:
            with torch.no_grad():
                logits_CV: Tensor = head(hidden_LD[place].to(head.weight.dtype)).float()
            return logits_CV

        return logits


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
