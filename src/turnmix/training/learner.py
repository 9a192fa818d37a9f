"""The objective on the taught tokens of every visited state (paper Eq. 11, 14). In: transitions. Out: new weights.

Transitions of one trajectory (or task) become one token tree, `batch_size` trajectories one optimiser step. The
loss of a step is normalised by all its label tokens, or trajectories, so a gradient depends neither on what shares a
tree, nor on how trees are grouped into forward passes, nor on how a long tree is split.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from turnmix.core.errors import TrainingError
from turnmix.core.transition import Transition
from turnmix.training.adapter import add_adapter
from turnmix.training.architecture import check_architecture
from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.batching import deal, model_cost
from turnmix.training.finiteness import check_weights, culprit
from turnmix.training.fit_report import FitReport, StepReport
from turnmix.training.forest import Renderer, context_limit, grow_forest
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective import CLIP_SHARE, Objective
from turnmix.training.optimizer import adamw, clip, learning_rate
from turnmix.training.out_of_memory import learning_text, told_where_memory_ends
from turnmix.training.pass_counts import PassCounts
from turnmix.training.precision import short_passes
from turnmix.training.ranks import Ranks
from turnmix.training.recomputation import enable_recomputation, recomputing
from turnmix.training.sharding import (
    Computation,
    acting_copy,
    optimizer_state,
    set_optimizer_state,
    set_trained_weights,
    shard,
    trained_weights,
    whole,
)
from turnmix.training.tree import TokenTree

ROWS_PER_CPU_PASS = 2048
"""Small trees share a pass up to here on a CPU: more rows at once leave the cache. Four to five nano trees in
one pass took 1.1 (busy machine) to 1.6 (quiet) times as long as one by one."""


class Learner:
    """Trains `model` in place. The optimiser's state lives as long as the learner: across iterations."""

    def __init__(
        self,
        model: Any,
        renderer: Renderer,
        settings: LearnerSettings,
        *,
        objective: Objective | None = None,
        ranks: Ranks | None = None,
        seed: int = 0,
        acts_elsewhere: bool = False,
    ) -> None:
        """`objective`: left out, cross-entropy. `ranks`: the processes that each make a learner of the same
        model, on their device; left out, this one alone. `seed`: of a new adapter. `acts_elsewhere`: a server acts for
        the student, so that a copy that is only saved need not lie on the device.

        Raises:
            UserError: the model cannot be trained exactly on trees, `max_context` exceeds what it can read,
                or it has not what `lora` adapts.
            MissingDependencyError: `lora` without peft.
        """
        self._ranks = ranks or Ranks(device=model.device)
        self.model = model.float().eval()  # dropout would tell the shared prefix from the separate ones
        self.settings = settings
        self._renderer = renderer
        self._objective = objective or Objective()
        self.max_context = context_limit(model.config, settings.max_context)
        """Tokens; a transition of more is dropped and counted."""
        self._cost = model_cost(model)
        if settings.lora is not None:
            add_adapter(model, settings.lora, seed=seed)
        check_architecture(model)
        self.acting_model = model
        """The whole model with the weights of now, on rank 0; of several a copy, on the CPU where a server acts."""
        self._computation = Computation(model)
        if self._ranks.number > 1:
            self.acting_model = acting_copy(model, on_cpu=acts_elsewhere) if self._ranks.is_first else None
            shard(self._computation, self._ranks, dtype=getattr(torch, settings.dtype))
        if settings.gradient_checkpointing:
            enable_recomputation(model)
        self._optimizer = adamw(model, settings)
        self.steps = 0
        """Optimiser steps since the base student."""

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._ranks.device

    @property
    def num_ranks(self) -> int:
        """The processes that learn together."""
        return self._ranks.number

    def fit(
        self,
        transitions: Iterable[Transition] = (),
        *,
        generator: random.Random,
        on_step: Callable[[StepReport], None] | None = None,
    ) -> FitReport:
        """Train on `transitions` for the settings' epochs. Each is let go once it is rendered; rank 0 has them, and
        tells the others.

        The weights that come out depend on the weights that were, the order of `transitions` and `generator`
        alone.

        Raises:
            TrainingError: a loss, a gradient or a weight is not finite. Every rank raises it.
            UserError: the device has no memory for a pass.
        """
        began = time.perf_counter()
        self._ranks.tell(("fit", {"generator": generator}))
        forest = grow_forest(
            transitions,
            self._renderer,
            self.settings,
            max_context=self.max_context,
            needs_reference_logprobs=self._objective.needs_reference_logprobs,
            needs_sampled=self._objective.needs_sampled,
            average=self._objective.settings.average,
            ranks=self._ranks,
        )
        per_epoch = math.ceil(len(forest) / self.settings.batch_size)
        num_steps = per_epoch * self.settings.epochs
        epoch_losses = []
        figures = [0.0] * len(self._objective.figures)
        first_means: list[float] = []
        counts = PassCounts(budget_rows=self.settings.tokens_per_pass, ranks=self._ranks.number)
        step = tree_tokens = 0
        total_share = 0.0  # of all epochs
        recomputed = recomputing(self.model, is_enabled=self.settings.gradient_checkpointing)
        memory_told = told_where_memory_ends(
            partial(learning_text, self.settings, counts, self._ranks.device)
        )
        with tree_attention_in(self.model), recomputed, memory_told:
            for epoch in range(self.settings.epochs if forest else 0):
                summed = epoch_share = 0.0
                for places in self._shuffled(len(forest), generator):
                    batch = forest.trees_of(places)
                    rate = learning_rate(self.settings, step, num_steps)
                    step += 1
                    (loss, *means), norm = self._step(
                        batch, rate, place=f"step {step} of {num_steps}", counts=counts
                    )
                    first_means = first_means or means
                    tree_tokens += sum(map(len, batch)) if epoch == 0 else 0
                    share = sum(tree.total_share for tree in batch)
                    epoch_share += share
                    summed += loss * share
                    figures = [old + mean * share for old, mean in zip(figures, means, strict=True)]
                    if on_step is not None:
                        on_step(
                            StepReport(
                                step=step,
                                num_steps=num_steps,
                                loss=loss,
                                gradient_norm=norm,
                                learning_rate=rate,
                            )
                        )
                epoch_losses.append(summed / epoch_share)
                total_share += epoch_share
        check_weights(self.model, self._ranks, place=f"after step {step} of {num_steps}")
        self._refresh()
        return FitReport(
            transitions=forest.num_transitions,
            dropped_too_long=forest.dropped_too_long,
            untaught=forest.untaught,
            label_tokens=forest.num_labels,
            tree_tokens=tree_tokens,
            separate_tokens=forest.separate_tokens,
            steps=step,
            first_epoch_loss=epoch_losses[0] if epoch_losses else None,
            last_epoch_loss=epoch_losses[-1] if epoch_losses else None,
            passes=counts.to_json(),
            objective=self._figures([figure / (total_share or 1) for figure in figures], first_means),
            seconds=time.perf_counter() - began,
        )

    def _figures(self, means: Sequence[float], first_means: Sequence[float]) -> dict[str, float]:
        """By name, of the whole fit, and what is said of its first step; none where there was no step."""
        if not first_means:
            return {}
        found = dict(zip(self._objective.figures, means, strict=True))
        if CLIP_SHARE in found:
            first = dict(zip(self._objective.figures, first_means, strict=True))[CLIP_SHARE]
            found[f"first_step_{CLIP_SHARE}"] = first
        return found

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed learner needs beside the model's weights, on any number of ranks."""
        self._ranks.tell(("state_dict", {}))
        return {"optimizer": optimizer_state(self.model, self._optimizer), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any], *, adapter: Mapping[str, Tensor] | None = None) -> None:
        """Continue where the learner stood that gave `state`, with its adapter where it trains one. Every rank
        calls this."""
        if adapter is not None:
            set_trained_weights(self.model, dict(adapter))
            self._refresh()
        set_optimizer_state(self.model, self._optimizer, state["optimizer"])
        self.steps = state["steps"]

    def follow(self) -> None:
        """Do what rank 0's learner does, until that is closed. All other ranks call this and no more."""
        while (word := self._ranks.hear()) is not None:
            name, arguments = word
            with suppress(TrainingError):  # rank 0 has it too, and says so
                getattr(self, name)(**arguments)

    def close(self) -> None:
        """Let the other ranks go on from `follow`."""
        self._ranks.tell(None)

    def _refresh(self) -> None:
        """Give the acting model the weights of now."""
        if self._ranks.number > 1:
            weights = trained_weights(self.model)
            if self._ranks.is_first:
                self.acting_model.load_state_dict(weights, strict=False)

    def _shuffled(self, num_trajectories: int, generator: random.Random) -> Iterator[list[int]]:
        """The places of `batch_size` trajectories at a time, each once."""
        order = list(range(num_trajectories))
        generator.shuffle(order)
        for start in range(0, num_trajectories, self.settings.batch_size):
            yield order[start : start + self.settings.batch_size]

    def _step(
        self, trees: Sequence[TokenTree], rate: float, *, place: str, counts: PassCounts
    ) -> tuple[list[float], float]:
        """One optimiser step; the means of the objective's terms over all that it learns from, the loss first,
        and the gradient norm. `place` names the step where that is not finite: then none is made."""
        total_share = sum(tree.total_share for tree in trees)
        rows = self.settings.tokens_per_pass
        if self._ranks.device.type == "cpu":
            rows = min(rows, ROWS_PER_CPU_PASS)
        passes = deal(trees, cost=self._cost, budget=rows, num_ranks=self._ranks.number)
        counts.add(passes)
        totals = torch.zeros(1 + len(self._objective.figures), device=self._ranks.device)
        for each in passes[self._ranks.index]:
            # Every rank runs every pass, since all gather its layers; sharding averages gradients over them.
            terms = self._computation(partial(self._compute, each.trees, total_share)) * each.is_counted
            (terms[0] * self._ranks.number).backward()
            totals += terms.detach()
        means = self._ranks.sum(totals).tolist()
        norm = whole(clip(self._optimizer, self.settings.gradient_clip)).item()
        if not math.isfinite(means[0]) or not math.isfinite(norm):
            self._optimizer.zero_grad()
            check_weights(self.model, self._ranks, place=f"before {place}")
            found = culprit(
                trees,
                lambda tree: self._computation(partial(self._compute, [tree], tree.num_labels))[0],
                self._optimizer,
            )
            raise TrainingError(
                f"{place}: the loss is {means[0]}, the norm of its gradient {norm}, by {found}: no step was made"
            )
        for parameter_group in self._optimizer.param_groups:
            parameter_group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.steps += 1
        return means, norm

    def _compute(self, trees: Sequence[TokenTree], total_share: float) -> Tensor:
        """The objective's terms of one pass, as their part in the means of the step."""
        batch = batch_trees(trees, self._ranks.device)
        is_bfloat16 = self.settings.dtype == "bfloat16" and self._ranks.number == 1
        with short_passes(self.model, self._ranks.device, is_enabled=is_bfloat16):
            hidden_ND = tree_hidden_states(self.model, batch)
            head = self.model.get_output_embeddings()
            return self._objective.terms(hidden_ND, head, batch) / total_share
