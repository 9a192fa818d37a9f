"""Transitions enter; the trees of each trajectory, or of each task, leave, none larger than a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.core.untaught import Objection, Untaught
from turnmix.rendering.readback import written_target
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.tree import RenderedTransition, TokenTree, build_tree, split_to_budget


class Renderer(Protocol):
    """What turns a transition into the student's tokens."""

    def prompt_ids(self, state: State) -> list[int]:
        """The tokens of `state` up to where the agent's turn begins."""
        ...

    def target_ids(self, state: State, action: Action) -> list[int]:
        """The tokens of `action` taken in `state`, end of turn included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """What one fit learns from."""

    groups: list[list[TokenTree]]
    """The trees of each trajectory or task, in order of first appearance."""
    dropped_too_long: int
    untaught: tuple[Untaught, ...]
    """Targets that the student cannot say, or that nobody should."""

    @property
    def trees(self) -> list[TokenTree]:
        return [tree for group in self.groups for tree in group]


def grow_forest(
    transitions: Sequence[Transition],
    renderer: Renderer,
    settings: LearnerSettings,
    *,
    max_context: int,
    needs_references: bool,
) -> Forest:
    """The trees of `transitions`. One of more tokens than `max_context` is dropped and counted; so is a target that
    the student did not sample and that its own tokens do not say."""
    groups: dict[str, list[RenderedTransition]] = {}
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
            group=item.trajectory_id if settings.tree == "trajectory" else item.task_id,
        )
        if len(rendered.prompt_ids) + len(rendered.target_ids) > max_context:
            dropped += 1
        elif needs_references and item.reference_logprobs is None:
            raise ValueError(f"{item.trajectory_id}: the objective needs reference_logprobs, there are none")
        elif rendered.num_labels:
            groups.setdefault(rendered.group, []).append(rendered)
    budget = settings.tokens_per_pass
    return Forest(
        groups=[[build_tree(lot) for lot in split_to_budget(group, budget)] for group in groups.values()],
        dropped_too_long=dropped,
        untaught=tuple(untaught),
    )


def _left_out(item: Transition, objection: Objection) -> Untaught:
    turn = sum(message.role == "assistant" for message in item.state.messages)
    return Untaught(objection=objection, target=item.target, trajectory_id=item.trajectory_id, turn=turn)


def context_limit(config: Any, wanted: int | None) -> int:
    """The tokens that a model reads at most, or fewer where `wanted`. Raises UserError when more are wanted."""
    limit = getattr(config, "max_position_embeddings", None)
    if wanted is not None and limit is not None and wanted > limit:
        raise UserError(
            f"learner.max_context is {wanted}, but the student reads {limit} tokens: set it to {limit}"
        )
    return wanted or limit or 2**31
