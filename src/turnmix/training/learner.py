"""Transitions enter, new weights leave: the objective on the taught tokens of every visited state (paper Eq.
11, 14).

Transitions of one trajectory (or task) become one token tree, `batch_size` of them one optimiser step. The
loss of a step is normalised by all its label tokens, so a gradient depends neither on how trees are grouped
into forward passes nor on how a long tree is split.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.training.architecture import check_architecture
from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective import Objective
from turnmix.training.tree import RenderedTransition, TokenTree, build_tree, split_to_budget

ROWS_PER_CPU_PASS = 2048
"""Small trees share a pass up to here on a CPU: more rows at once leave the cache. Four to five nano trees in
one pass took 1.1 (busy machine) to 1.6 (quiet) times as long as one by one."""


class Renderer(Protocol):
    """What turns a transition into the student's tokens."""

    def prompt_ids(self, state: State) -> list[int]:
        """The tokens of `state` up to where the agent's turn begins."""
        ...

    def target_ids(self, state: State, action: Action) -> list[int]:
        """The tokens of `action` taken in `state`, end of turn included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimiser step."""

    step: int
    """Counted from 1 within the fit."""
    num_steps: int
    loss: float
    """Mean of the objective over the step's label tokens, before the step."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """One fit. Counts are of one epoch."""

    transitions: int
    """Given, dropped ones included."""
    dropped_too_long: int
    label_tokens: int
    tree_tokens: int
    """Rows computed."""
    separate_tokens: int
    """Rows that the same transitions have when each is computed alone."""
    steps: int
    """Optimiser steps of all epochs."""
    first_epoch_loss: float | None
    """Mean of the objective over label tokens, each before its step; None: nothing to learn from."""
    last_epoch_loss: float | None
    objective: Mapping[str, float]
    """The objective's own figures, as means over the label tokens of all epochs; empty: nothing to learn
    from."""
    seconds: float


class Learner:
    """Trains `model` in place. The optimiser's state lives as long as the learner: across iterations."""

    def __init__(
        self,
        model: Any,
        renderer: Renderer,
        settings: LearnerSettings,
        *,
        objective: Objective | None = None,
    ) -> None:
        """`objective`: left out, cross-entropy.

        Raises:
            UserError: the model cannot be trained exactly on trees, or `max_context` exceeds what it can
            read.
        """
        self.model = model.float().eval()  # dropout would tell the shared prefix from the separate ones
        self.settings = settings
        self._renderer = renderer
        self._objective = objective or Objective()
        self._max_context = _context_limit(model.config, settings.max_context)
        check_architecture(model)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
        vectors = [parameter for parameter in parameters if parameter.ndim < 2]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=True,
        )
        self._parameters = parameters
        self.steps = 0
        """Optimiser steps since the base student."""

    def fit(
        self,
        transitions: Sequence[Transition],
        *,
        generator: random.Random,
        on_step: Callable[[StepReport], None] | None = None,
    ) -> FitReport:
        """Train on `transitions` for the settings' epochs.

        The weights that come out depend on the weights that were, the order of `transitions` and `generator`
        alone.
        """
        began = time.perf_counter()
        forest, dropped = self._forest(transitions)
        per_epoch = math.ceil(len(forest) / self.settings.batch_size)
        num_steps = per_epoch * self.settings.epochs
        epoch_losses = []
        label_tokens = sum(tree.num_labels for trees in forest for tree in trees)
        figures = [0.0] * len(self._objective.figures)
        step = 0
        with tree_attention_in(self.model):
            for _ in range(self.settings.epochs if forest else 0):
                summed = 0.0  # over the label tokens of the epoch
                for batch in self._shuffled(forest, generator):
                    learning_rate = self._learning_rate(step, num_steps)
                    (loss, *means), norm = self._step(batch, learning_rate)
                    step += 1
                    num_labels = sum(tree.num_labels for tree in batch)
                    summed += loss * num_labels
                    figures = [old + mean * num_labels for old, mean in zip(figures, means, strict=True)]
                    if on_step is not None:
                        on_step(
                            StepReport(
                                step=step,
                                num_steps=num_steps,
                                loss=loss,
                                gradient_norm=norm,
                                learning_rate=learning_rate,
                            )
                        )
                epoch_losses.append(summed / label_tokens)
        return FitReport(
            transitions=len(transitions),
            dropped_too_long=dropped,
            label_tokens=label_tokens,
            tree_tokens=sum(len(tree) for trees in forest for tree in trees),
            separate_tokens=sum(tree.separate_tokens for trees in forest for tree in trees),
            steps=step,
            first_epoch_loss=epoch_losses[0] if epoch_losses else None,
            last_epoch_loss=epoch_losses[-1] if epoch_losses else None,
            objective={
                name: figure / (label_tokens * self.settings.epochs)
                for name, figure in zip(self._objective.figures, figures, strict=True)
                if epoch_losses
            },
            seconds=time.perf_counter() - began,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed learner needs beside the model's weights."""
        return {"optimizer": self._optimizer.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the learner stood that gave `state`."""
        self._optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]

    def _forest(self, transitions: Sequence[Transition]) -> tuple[list[list[TokenTree]], int]:
        """The trees of each trajectory (or task), in order of first appearance, and the number of transitions
        dropped."""
        groups: dict[str, list[RenderedTransition]] = {}
        dropped = 0
        for item in transitions:
            if self._objective.needs_references and item.reference_logprobs is None:
                raise ValueError(
                    f"{item.trajectory_id}: the objective needs reference_logprobs, there are none"
                )
            rendered = RenderedTransition(
                prompt_ids=tuple(self._renderer.prompt_ids(item.state)),
                target_ids=tuple(self._renderer.target_ids(item.state, item.target)),
                weight=item.weight,
                reference_logprobs=item.reference_logprobs,
                group=item.trajectory_id if self.settings.tree == "trajectory" else item.task_id,
            )
            if len(rendered.prompt_ids) + len(rendered.target_ids) > self._max_context:
                dropped += 1
            elif rendered.num_labels:
                groups.setdefault(rendered.group, []).append(rendered)
        budget = self.settings.tokens_per_pass
        return [
            [build_tree(lot) for lot in split_to_budget(group, budget)] for group in groups.values()
        ], dropped

    def _shuffled(
        self, forest: Sequence[Sequence[TokenTree]], generator: random.Random
    ) -> Iterator[list[TokenTree]]:
        """The trees of `batch_size` trajectories at a time, each trajectory once."""
        order = list(range(len(forest)))
        generator.shuffle(order)
        for start in range(0, len(order), self.settings.batch_size):
            chosen = order[start : start + self.settings.batch_size]
            yield [tree for index in chosen for tree in forest[index]]

    def _step(self, trees: Sequence[TokenTree], learning_rate: float) -> tuple[list[float], float]:
        """One optimiser step; the means of the objective's terms over all its label tokens, the loss first,
        and the gradient norm."""
        num_labels = sum(tree.num_labels for tree in trees)
        device = self.model.device
        totals = torch.zeros(1 + len(self._objective.figures), device=device)
        for group in self._passes(trees):
            batch = batch_trees(group, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.dtype == "bfloat16"):
                hidden_ND = tree_hidden_states(self.model, batch)
                head = self.model.get_output_embeddings()
                terms = self._objective.terms(hidden_ND, head, batch) / num_labels
            terms[0].backward()  # type: ignore[no-untyped-call]
            totals += terms.detach()
        limit = self.settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, math.inf if limit is None else limit)
        for parameter_group in self._optimizer.param_groups:
            parameter_group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.steps += 1
        return totals.tolist(), norm.item()

    def _passes(self, trees: Sequence[TokenTree]) -> Iterator[list[TokenTree]]:
        """Consecutive trees that fit into one forward pass together."""
        limit = self.settings.tokens_per_pass
        if self.model.device.type == "cpu":
            limit = min(limit, ROWS_PER_CPU_PASS)
        group: list[TokenTree] = []
        for tree in trees:
            if group and sum(map(len, group)) + len(tree) > limit:
                yield group
                group = []
            group.append(tree)
        if group:
            yield group

    def _learning_rate(self, step: int, num_steps: int) -> float:
        """The learning rate of `step`, counted from 0, of `num_steps`."""
        peak = self.settings.learning_rate
        warmup = math.ceil(self.settings.warmup_ratio * num_steps)
        if step < warmup:
            return peak * (step + 1) / warmup
        if self.settings.schedule == "constant":
            return peak
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def _context_limit(config: Any, wanted: int | None) -> int:
    limit = getattr(config, "max_position_embeddings", None)
    if wanted is not None and limit is not None and wanted > limit:
        raise UserError(
            f"learner.max_context is {wanted}, but the student reads {limit} tokens: set it to {limit}"
        )
    return wanted or limit or 2**31
