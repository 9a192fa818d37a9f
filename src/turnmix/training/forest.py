"""Transitions enter; for the trajectories of a step their trees leave, none larger than a pass.

What shares a tree, the transitions of one trajectory or of all that the step has of one task, changes no gradient:
which trajectories make a step does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.core.untaught import Objection, Untaught
from turnmix.rendering.readback import written_target
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective_settings import Average
from turnmix.training.tree import RenderedTransition, TokenTree, split_trees


class Renderer(Protocol):
    """What turns a transition into the student's tokens."""

    def prompt_ids(self, state: State) -> list[int]:
        """The tokens of `state` up to where the agent's turn begins."""
        ...

    def target_ids(self, state: State, action: Action) -> list[int]:
        """The tokens of `action` taken in `state`, end of turn included."""
        ...


@dataclass(frozen=True, kw_only=True)
class Forest:
    """What one fit learns from."""

    trajectories: list[list[RenderedTransition]]
    """Of each trajectory what is taught, in order of first appearance."""
    tokens_per_pass: int
    tree: Literal["trajectory", "task"]
    dropped_too_long: int
    untaught: tuple[Untaught, ...]
    """Targets that the student cannot say, or that nobody should."""

    def __len__(self) -> int:
        return len(self.trajectories)

    @property
    def num_labels(self) -> int:
        return sum(item.num_labels for items in self.trajectories for item in items)

    @property
    def separate_tokens(self) -> int:
        """Rows that its transitions have when each is computed alone."""
        return sum(item.num_rows for items in self.trajectories for item in items)

    @property
    def trees(self) -> list[TokenTree]:
        """All of them."""
        return self.trees_of(range(len(self)))

    def trees_of(self, places: Sequence[int]) -> list[TokenTree]:
        """The trees of the trajectories at `places`."""
        if self.tree == "trajectory":
            return [tree for place in places for tree in self._trees[place]]
        groups: dict[str, list[RenderedTransition]] = {}
        for place in places:
            for item in self.trajectories[place]:
                groups.setdefault(item.group, []).append(item)
        return [tree for group in groups.values() for tree in self._built(group)]

    @cached_property
    def _trees(self) -> list[list[TokenTree]]:
        """Of each trajectory its own: the same in every epoch."""
        return [self._built(items) for items in self.trajectories]

    def _built(self, items: Sequence[RenderedTransition]) -> list[TokenTree]:
        return split_trees(items, self.tokens_per_pass)


def grow_forest(
    transitions: Sequence[Transition],
    renderer: Renderer,
    settings: LearnerSettings,
    *,
    max_context: int,
    needs_references: bool,
    needs_sampled: bool = False,
    average: Average = "token",
) -> Forest:
    """The trees of `transitions`. One of more tokens than `max_context` is dropped and counted; so is a target that
    the student did not sample and that its own tokens do not say. `average`: which mean the loss is."""
    trajectories: dict[str, list[RenderedTransition]] = {}
    dropped = 0
    untaught: list[Untaught] = []
    for item in transitions:
        target = written_target(renderer, item.state, item.target)
        if isinstance(target, Objection):
            untaught.append(_left_out(item, target))
            continue
        rendered = RenderedTransition(
            prompt_ids=tuple(renderer.prompt_ids(item.state)),
            target_ids=tuple(target),
            weight=item.weight,
            reference_logprobs=item.reference_logprobs,
            sampled_logprobs=item.sampled_logprobs if needs_sampled else None,
            group=item.trajectory_id if settings.tree == "trajectory" else item.task_id,
        )
        if len(rendered.prompt_ids) + len(rendered.target_ids) > max_context:
            dropped += 1
        elif needs_references and item.reference_logprobs is None:
            raise ValueError(f"{item.trajectory_id}: the objective needs reference_logprobs, there are none")
        elif needs_sampled and item.sampled_logprobs is None:
            raise ValueError(f"{item.trajectory_id}: the objective needs sampled_logprobs, there are none")
        elif rendered.num_labels:
            trajectories.setdefault(item.trajectory_id, []).append(rendered)
    return Forest(
        trajectories=[_with_shares(items, average) for items in trajectories.values()],
        tokens_per_pass=settings.tokens_per_pass,
        tree=settings.tree,
        dropped_too_long=dropped,
        untaught=tuple(untaught),
    )


def _left_out(item: Transition, objection: Objection) -> Untaught:
    turn = sum(message.role == "assistant" for message in item.state.messages)
    return Untaught(objection=objection, target=item.target, trajectory_id=item.trajectory_id, turn=turn)


def _with_shares(items: list[RenderedTransition], average: Average) -> list[RenderedTransition]:
    """One trajectory's transitions: each label token counts 1, or all of them together do."""
    if average == "token":
        return items
    share = 1 / sum(item.num_labels for item in items)
    return [replace(item, share=share) for item in items]


def context_limit(config: Any, wanted: int | None) -> int:
    """The tokens that a model reads at most, or fewer where `wanted`. Raises UserError when more are wanted."""
    limit = getattr(config, "max_position_embeddings", None)
    if wanted is not None and limit is not None and wanted > limit:
        raise UserError(
            f"learner.max_context is {wanted}, but the student reads {limit} tokens: set it to {limit}"
        )
    return wanted or limit or 2**31
