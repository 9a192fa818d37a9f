"""The objective (paper Eq. 14): what a taught token adds to the loss, from its logits, its weight and what
other policies gave it.

    cross_entropy  −w · log π                                           SFT, DAgger, AggreVaTe, OEC: w = 1
    clipped_ratio  −min(r·w, clip(r, 1−ε_low, 1+ε_high)·w)              GRPO: w = advantage, r = π / π_sampling
    reverse_kl     −stop_grad(log π_teacher − log π) · log π            OPD, estimate `sampled` (Eq. 22)
                   Σ_v π(v) · (log π(v) − log π_teacher(v))             OPD, estimates `top_k` and `full`
    regulariser    + λ · Σ_v π(v) · (log π(v) − log π_base(v))          any of them, where λ > 0

In: hidden states of a batch of trees, and its labels. Out: sums over its labels. Who divides them by the
number of label tokens of the whole optimiser step, over all its passes and processes, gets means whose
gradient depends neither on how trees are grouped nor on how they are split. log π is at temperature 1.

Legend: N rows, L labels, C labels of a chunk, D hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from turnmix.policies.scoring import LOWEST_LOGPROB
from turnmix.training.attention import TreeBatch, tree_attention_in, tree_hidden_states
from turnmix.training.loss import sum_over_labels
from turnmix.training.objective_settings import ObjectiveSettings

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
    ) -> None:
        """`teacher`: a model, for reverse KL over several tokens. `base`: the student before training, for
        the regulariser. `vocabulary`: the tokens that student and teacher share; logits behind them are padding.
        """
        self.settings = settings or ObjectiveSettings()
        self._teacher = teacher
        self._base = base
        self._vocabulary = vocabulary
        if self.settings.runs_teacher and teacher is None:
            raise ValueError(f"estimate {self.settings.estimate!r} needs a teacher model")
        if self.settings.kl_weight and base is None:
            raise ValueError(f"kl_weight {self.settings.kl_weight} needs the base model")
        names = {
            "cross_entropy": ("mean_weight",),
            "clipped_ratio": ("mean_weight", "clip_share"),
            "reverse_kl": ("kl_teacher",),
        }
        regulariser = ("kl_base",) if self.settings.kl_weight else ()
        self.figures: tuple[str, ...] = (*names[self.settings.kind], *regulariser)
        """What the terms behind the loss are, each a sum over label tokens: divided by their number it is the
        mean weight, the share of tokens whose gradient is clipped off, the mean KL in nats."""

    @property
    def needs_references(self) -> bool:
        """Must each transition bring `reference_logprobs`?"""
        return self.settings.kind == "clipped_ratio" or self.settings.needs_scores

    def terms(self, hidden_ND: Tensor, head: Any, batch: TreeBatch) -> Tensor:
        """[1 + number of figures]: the loss, then the figures; sums over the batch's labels."""
        teacher = self._frozen_logits(self._teacher if self.settings.runs_teacher else None, batch)
        base = self._frozen_logits(self._base if self.settings.kl_weight else None, batch)

        def terms(logits_CV: Tensor, place: slice) -> Tensor:
            ids_C, weights_C = batch.label_ids[place], batch.label_weights[place]
            counts_C, references_C = batch.label_counts[place], batch.label_references[place]
            if self.settings.kind == "cross_entropy":
                losses_C, figures = self._cross_entropy(logits_CV, ids_C, weights_C)
            elif self.settings.kind == "clipped_ratio":
                losses_C, figures = self._clipped_ratio(logits_CV, ids_C, weights_C, counts_C, references_C)
            elif teacher is None:
                losses_C, figures = self._sampled_kl(logits_CV, ids_C, weights_C, references_C)
            else:
                losses_C, figures = self._full_kl(logits_CV, weights_C, teacher(place))
            loss = losses_C.sum()
            if base is not None:
                drift = (reverse_kl(logits_CV, base(place)) * counts_C).sum()
                loss = loss + self.settings.kl_weight * drift
                figures = (*figures, drift)
            return torch.stack([loss, *(figure.detach() for figure in figures)])

        return sum_over_labels(hidden_ND.index_select(0, batch.label_rows), head, terms)

    def _cross_entropy(
        self, logits_CV: Tensor, ids_C: Tensor, weights_C: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        return cross_entropy(logits_CV, ids_C, reduction="none") * weights_C, (weights_C.sum(),)

    def _clipped_ratio(
        self, logits_CV: Tensor, ids_C: Tensor, weights_C: Tensor, counts_C: Tensor, sampled_C: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        low, high = self.settings.clip_low, self.settings.clip_high
        assert low is not None
        assert high is not None
        log_ratios_C = -cross_entropy(logits_CV, ids_C, reduction="none") - sampled_C
        ratios_C = log_ratios_C.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()
        gains_C, clipped_C = ratios_C * weights_C, ratios_C.clamp(1 - low, 1 + high) * weights_C
        num_clipped = (counts_C * (clipped_C < gains_C)).sum()
        return -torch.minimum(gains_C, clipped_C), (weights_C.sum(), num_clipped)

    def _sampled_kl(
        self, logits_CV: Tensor, ids_C: Tensor, weights_C: Tensor, teacher_C: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        losses_C = cross_entropy(logits_CV[:, : self._vocabulary], ids_C, reduction="none")
        advantages_C = weights_C * (teacher_C + losses_C.detach())
        return losses_C * advantages_C, (-advantages_C.sum(),)

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
