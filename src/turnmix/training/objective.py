"""The objective of a batch (paper Eq. 14): the loss of each taught token by its share, and the regulariser.

    loss           what `token_loss` says of each token, or a loss of the user's own
    regulariser    + λ · Σ_v π(v) · (log π(v) − log π_base(v))          any of them, where λ > 0

In: hidden states of a batch of trees, and its labels. Out: sums over its labels, each by its share. Who divides
them by all shares of the whole optimiser step, over all its passes and processes, gets means whose gradient depends
neither on how trees are grouped nor on how they are split.

Legend: N rows, L labels, C labels of a chunk, D hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from turnmix.core.plugins import telling_faults
from turnmix.training.attention import TreeBatch, tree_attention_in, tree_hidden_states
from turnmix.training.loss import sum_over_labels
from turnmix.training.objective_settings import CrossEntropySettings, LossParts, ObjectiveSettings
from turnmix.training.token_loss import TaughtTokens, reverse_kl

CLIP_SHARE = "clip_share"


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
        """`teacher`: a model, for an objective that runs one. `base`: the student before training, for
        the regulariser. `vocabulary`: the tokens that student and teacher share; logits behind them are padding.
        `temperature`: at which the student sampled.
        """
        self.settings = settings or CrossEntropySettings()
        self._teacher = teacher
        self._base = base
        with telling_faults(self.settings.kind):
            self._loss = self.settings.make(LossParts(vocabulary=vocabulary, temperature=temperature))
        if self.settings.runs_teacher and teacher is None:
            raise ValueError(f"the objective {self.settings.kind} needs a teacher model")
        if self.settings.kl_weight and base is None:
            raise ValueError(f"kl_weight {self.settings.kl_weight} needs the base model")
        regulariser = ("kl_base",) if self.settings.kl_weight else ()
        self.figures: tuple[str, ...] = (*self.settings.figures, *regulariser)
        """What the terms behind the loss are, each a sum by shares: divided by all shares it is a mean over tokens,
        such as the mean weight, the mean KL in nats, the share of tokens whose gradient is clipped off."""

    @property
    def needs_reference_logprobs(self) -> bool:
        """Must each transition bring `reference_logprobs`?"""
        return self.settings.has_ratio or self.settings.needs_scores

    @property
    def needs_sampled(self) -> bool:
        """Must each transition bring `sampled_logprobs` too?"""
        return self.settings.needs_scores and self.settings.has_ratio

    def terms(self, hidden_ND: Tensor, head: Any, batch: TreeBatch) -> Tensor:
        """[1 + number of figures]: the loss, then the figures; sums over the batch's labels."""
        teacher = self._frozen_logits(self._teacher if self.settings.runs_teacher else None, batch)
        base = self._frozen_logits(self._base if self.settings.kl_weight else None, batch)
        is_compared_with_teacher = self.settings.needs_scores
        sampled_L = batch.label_sampled if is_compared_with_teacher else batch.label_reference_logprobs

        def terms(logits_CV: Tensor, place: slice) -> Tensor:
            tokens = TaughtTokens(
                logits_CV=logits_CV,
                ids_C=batch.label_ids[place],
                weights_C=batch.label_weights[place],
                sampled_C=sampled_L[place] if self.settings.has_ratio else None,
                teacher_C=batch.label_reference_logprobs[place] if is_compared_with_teacher else None,
                teacher_CV=None if teacher is None else teacher(place),
            )
            shares_C = batch.label_shares[place]
            loss, *figures = [(each_C * shares_C).sum() for each_C in self._told_of(tokens)]
            if base is not None:
                drift = (reverse_kl(logits_CV, base(place)) * shares_C).sum()
                loss = loss + self.settings.kl_weight * drift
                figures.append(drift)
            return torch.stack([loss, *(figure.detach() for figure in figures)])

        return sum_over_labels(hidden_ND.index_select(0, batch.label_rows), head, terms)

    def _told_of(self, tokens: TaughtTokens) -> tuple[Tensor, ...]:
        """The loss of each token and its figures.

        Raises:
            PluginError: a loss of the user's own fails, or gives another number of them, or not one number a token.
        """
        with telling_faults(self.settings.kind):
            return self._checked(self._loss(tokens), tokens)

    def _checked(self, found: Any, tokens: TaughtTokens) -> tuple[Tensor, ...]:
        told = found if isinstance(found, tuple) else (found,)
        expected = ("the loss", *self.settings.figures)
        if len(told) != len(expected):
            raise ValueError(
                f"the loss returned {len(told)} tensors, and must return "
                f"{len(expected)}: {', '.join(expected)}"
            )
        for name, each in zip(expected, told, strict=True):
            shape = list(each.shape) if isinstance(each, Tensor) else None
            if shape != [len(tokens.ids_C)]:
                given = f"{type(each).__name__}" if shape is None else f"a tensor of shape {shape}"
                raise ValueError(
                    f"{name} is {given} for {len(tokens.ids_C)} tokens: return a tensor of one number a token, neither "
                    "summed nor averaged"
                )
        if tokens.logits_CV.requires_grad and not told[0].requires_grad:
            raise ValueError(
                "the loss has no gradient: make it of tokens.logprobs() or tokens.logits_CV, not detached"
            )
        return told

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
