"""In: transitions. Out: the trees of the trajectories of a step, none larger than a pass.

What shares a tree, the transitions of one trajectory or of all that the step has of one task, changes no gradient:
which trajectories make a step does not depend on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, Protocol, runtime_checkable

from turnmix.core.errors import UserError
from turnmix.core.recent_cache import RecentCache
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.core.untaught import Objection, Untaught
from turnmix.rendering.readback import written_target
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective_settings import Average
from turnmix.training.packed_transitions import PackedTransitions
from turnmix.training.ranks import Ranks
from turnmix.training.token_paths import Path, as_path
from turnmix.training.tree import RenderedTransition, TokenTree, split_trees

TRAJECTORIES_AT_ONCE = 8
"""That each rank is given to render: more of them take room, fewer let ranks wait for one that has a long one."""
MOST_ROWS_KEPT = 1 << 20
"""Of trees: some 40 MB. Small trajectories are built once for all epochs."""


class Renderer(Protocol):
    """What turns a transition into the student's tokens."""

    def prompt_ids(self, state: State) -> list[int]:
        """The tokens of `state` up to where the agent's turn begins."""
        ...

    def target_ids(self, state: State, action: Action) -> list[int]:
        """The tokens of `action` taken in `state`, end of turn included."""
        ...


@runtime_checkable
class RendersArrays(Protocol):
    """A renderer that has the tokens of a prompt as an array."""

    def prompt_array(self, state: State) -> Path:
        """As `prompt_ids`."""
        ...


class Forest:
    """What one fit learns from. It holds packed tokens, and of trees no more than `MOST_ROWS_KEPT` rows: the others are
    built anew for each step that asks for them."""

    def __init__(
        self,
        trajectories: Sequence[PackedTransitions],
        *,
        settings: LearnerSettings,
        average: Average,
        num_transitions: int,
        dropped_too_long: int,
        untaught: tuple[Untaught, ...],
    ) -> None:
        """`trajectories`: of each what is taught, in order of first appearance."""
        self._trajectories = trajectories
        self._settings = settings
        self._average = average
        self._kept = RecentCache[int, list[TokenTree]](most=MOST_ROWS_KEPT)
        self.num_transitions = num_transitions
        """That came, those too that are not taught."""
        self.dropped_too_long = dropped_too_long
        self.untaught = untaught
        """Targets that the student cannot say, or that nobody should."""

    def __len__(self) -> int:
        return len(self._trajectories)

    @property
    def num_labels(self) -> int:
        return sum(each.num_labels for each in self._trajectories)

    @property
    def separate_tokens(self) -> int:
        """Rows that its transitions have when each is computed alone."""
        return sum(each.num_rows for each in self._trajectories)

    @property
    def num_tokens(self) -> int:
        """Held."""
        return sum(each.num_tokens for each in self._trajectories)

    @property
    def trees(self) -> list[TokenTree]:
        """All of them."""
        return self.trees_of(range(len(self)))

    def trees_of(self, places: Sequence[int]) -> list[TokenTree]:
        """The trees of the trajectories at `places`."""
        if self._settings.tree == "trajectory":
            return [tree for place in places for tree in self._trees(place)]
        groups: dict[str, list[RenderedTransition]] = {}
        for place in places:
            for item in self._transitions(place):
                groups.setdefault(item.group, []).append(item)
        return [
            tree for group in groups.values() for tree in split_trees(group, self._settings.tokens_per_pass)
        ]

    def _trees(self, place: int) -> list[TokenTree]:
        trees = self._kept.get(place)
        if trees is None:
            trees = split_trees(self._transitions(place), self._settings.tokens_per_pass)
            self._kept.put(place, trees, size=sum(map(len, trees)))
        return trees

    def _transitions(self, place: int) -> list[RenderedTransition]:
        """One trajectory's: each label token counts 1, or all of them together do."""
        packed = self._trajectories[place]
        return packed.unpacked(share=1.0 if self._average == "token" else 1 / packed.num_labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one rank rendered. Numbers are of transitions among all, which set the order."""

    trajectories: list[tuple[int, PackedTransitions]]
    """Each with the number of the first that is taught."""
    untaught: list[tuple[int, Untaught]]
    dropped_too_long: int


def grow_forest(
    transitions: Iterable[Transition],
    renderer: Renderer,
    settings: LearnerSettings,
    *,
    max_context: int,
    needs_reference_logprobs: bool,
    needs_sampled: bool = False,
    average: Average = "token",
    ranks: Ranks | None = None,
) -> Forest:
    """What `transitions` teach. One of more tokens than `max_context` is dropped and counted; so is a target that the
    student did not sample and that its own tokens do not say. Each is let go once it is rendered. `average`: which
    mean the loss is. `ranks`: rank 0 has `transitions`, each renders its share of the trajectories and gives it to the
    others."""
    index, number = (0, 1) if ranks is None else (ranks.index, ranks.number)
    lots = _lots(transitions, number * TRAJECTORIES_AT_ONCE)
    told = chain.from_iterable(lots if ranks is None else ranks.told_in_turn(lots))
    places: dict[str, int] = {}
    num_transitions = 0

    def own() -> Iterator[tuple[int, Transition]]:
        nonlocal num_transitions
        for item in told:
            num_transitions += 1
            if places.setdefault(item.trajectory_id, len(places)) % number == index:
                yield num_transitions, item

    mine = own()
    found: _Share | Exception
    try:
        found = _rendered(
            mine,
            renderer,
            is_by_task=settings.tree == "task",
            max_context=max_context,
            needs_reference_logprobs=needs_reference_logprobs,
            needs_sampled=needs_sampled,
        )
    except Exception as error:
        if number == 1:
            raise
        found = error  # the others wait for this rank, and for its share: all of them end by it
        deque(mine, maxlen=0)
    shares: list[_Share] = []
    for share in [found] if ranks is None else ranks.gathered(found):
        if isinstance(share, Exception):
            raise share
        shares.append(share)
    trajectories = sorted((each for share in shares for each in share.trajectories), key=itemgetter(0))
    untaught = sorted((each for share in shares for each in share.untaught), key=itemgetter(0))
    return Forest(
        [packed for _, packed in trajectories],
        settings=settings,
        average=average,
        num_transitions=num_transitions,
        dropped_too_long=sum(share.dropped_too_long for share in shares),
        untaught=tuple(each for _, each in untaught),
    )


def _rendered(
    transitions: Iterable[tuple[int, Transition]],
    renderer: Renderer,
    *,
    is_by_task: bool,
    max_context: int,
    needs_reference_logprobs: bool,
    needs_sampled: bool,
) -> _Share:
    trajectories: dict[str, tuple[int, PackedTransitions]] = {}
    latest: PackedTransitions | None = None
    dropped = 0
    untaught: list[tuple[int, Untaught]] = []
    prompt_of = _prompts_of(renderer)
    for order, item in _foretold(transitions, renderer):
        target = written_target(renderer, item.state, item.target, is_well_formed=item.is_well_formed)
        if isinstance(target, Objection):
            untaught.append((order, _left_out(item, target)))
            continue
        rendered = RenderedTransition(
            prompt_ids=prompt_of(item.state),
            target_ids=as_path(target),
            weight=item.weight,
            reference_logprobs=item.reference_logprobs,
            sampled_logprobs=item.sampled_logprobs if needs_sampled else None,
            group=item.task_id if is_by_task else item.trajectory_id,
        )
        if len(rendered.prompt_ids) + len(rendered.target_ids) > max_context:
            dropped += 1
        elif needs_reference_logprobs and item.reference_logprobs is None:
            raise ValueError(f"{item.trajectory_id}: the objective needs reference_logprobs, there are none")
        elif needs_sampled and item.sampled_logprobs is None:
            raise ValueError(f"{item.trajectory_id}: the objective needs sampled_logprobs, there are none")
        elif rendered.num_labels:
            _, packed = trajectories.setdefault(item.trajectory_id, (order, PackedTransitions()))
            if latest is not None and latest is not packed:
                latest.close()
            packed.add(rendered)
            latest = packed
    if latest is not None:
        latest.close()
    return _Share(trajectories=list(trajectories.values()), untaught=untaught, dropped_too_long=dropped)


def _lots(transitions: Iterable[Transition], size: int) -> Iterator[list[Transition]]:
    """The transitions of `size` trajectories at a time, as they follow one another."""
    groups = (list(group) for _, group in groupby(transitions, lambda each: each.trajectory_id))
    while lot := [each for group in islice(groups, size) for each in group]:
        yield lot


def _foretold(
    transitions: Iterable[tuple[int, Transition]], renderer: Renderer
) -> Iterator[tuple[int, Transition]]:
    """The same. Of those in a row that are of one trajectory, the longest prompt is asked for before all others: its
    turns are read one right after the other, and the others hold most of them."""
    for _, group in groupby(transitions, lambda each: each[1].trajectory_id):
        items = list(group)
        if isinstance(renderer, RendersArrays) and len(items) > 1:
            longest = max(items, key=lambda each: len(each[1].state.messages))[1]
            with suppress(UserError, ValueError, TypeError):  # it is told when its own turn comes
                renderer.prompt_array(longest.state)
        yield from items


def _prompts_of(renderer: Renderer) -> Callable[[State], Sequence[int] | Path]:
    return renderer.prompt_array if isinstance(renderer, RendersArrays) else renderer.prompt_ids


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
