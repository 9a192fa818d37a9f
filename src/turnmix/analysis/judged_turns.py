"""A trajectory's states as a divergence counts them: who agreed, what the label cost, where the first deviation lies.

In: scored trajectories. Out: their states as rows, and sums over those that are asked for, by trajectory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from turnmix.analysis.agreement import agreements, judged, since_deviation
from turnmix.analysis.bootstrap import ratio_estimate
from turnmix.analysis.scored import ScoredTrajectory
from turnmix.analysis.table import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedTurn:
    """One visited state with a label."""

    turn: int
    """From 0."""
    since_deviation: int | None
    """Turns since its line's first deviation, which is 0, and before it negative; None: the line never deviates."""
    agrees: bool | None
    kind: str | None
    nll: float | None
    tokens: int
    """Of the label, where its NLL is known; else 0."""
    reverse_kl: float | None = None
    reverse_kl_tokens: int = 0

    @property
    def is_after_deviation(self) -> bool:
        return self.since_deviation is not None and self.since_deviation > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedTrajectory:
    """One trajectory's states."""

    task_id: str
    turns: tuple[JudgedTurn, ...]
    deviates: bool


IsCounted = Callable[[JudgedTurn], bool]


def judged_trajectories(
    scored: Iterable[ScoredTrajectory], *, by_greedy: bool = False
) -> list[JudgedTrajectory]:
    """Those that the agent ended. `by_greedy`: whether the student agrees is told by what it finds likeliest, as in the
    teacher's states, in which it did not act."""
    return [_judged_trajectory(each, by_greedy=by_greedy) for each in scored if judged(each.trajectory)]


def label_nll(trajectories: Iterable[JudgedTrajectory], is_counted: IsCounted) -> Estimate | None:
    """Nats per token of the label, over the states that are counted."""
    sums = [
        (sum(turn.nll or 0.0 for turn in turns), sum(turn.tokens for turn in turns))
        for turns in _counted(trajectories, is_counted)
    ]
    return ratio_estimate([nats for nats, _ in sums], [tokens for _, tokens in sums])


def agreement(trajectories: Iterable[JudgedTrajectory], is_counted: IsCounted) -> Estimate | None:
    """The share of the states that are counted in which the student agrees."""
    sums = [
        (sum(turn.agrees is True for turn in turns), sum(turn.agrees is not None for turn in turns))
        for turns in _counted(trajectories, is_counted)
    ]
    return ratio_estimate([agreed for agreed, _ in sums], [states for _, states in sums])


def reverse_kl(trajectories: Iterable[JudgedTrajectory]) -> Estimate | None:
    """Nats per token that the student sampled."""
    sums = [
        (
            sum(turn.reverse_kl or 0.0 for turn in each.turns),
            sum(turn.reverse_kl_tokens for turn in each.turns),
        )
        for each in trajectories
    ]
    return ratio_estimate([nats for nats, _ in sums], [tokens for _, tokens in sums])


def num_states(trajectories: Iterable[JudgedTrajectory], is_counted: IsCounted) -> int:
    return sum(map(len, _counted(trajectories, is_counted)))


def _counted(trajectories: Iterable[JudgedTrajectory], is_counted: IsCounted) -> list[list[JudgedTurn]]:
    return [[turn for turn in each.turns if is_counted(turn)] for each in trajectories]


def _judged_trajectory(scored: ScoredTrajectory, *, by_greedy: bool) -> JudgedTrajectory:
    agreed = agreements(scored.trajectory)
    if by_greedy:
        agreed = [None if score is None else score.is_greedy for score in scored.scores]
    since = since_deviation(scored.trajectory, agreed)
    turns = [
        JudgedTurn(
            turn=index,
            since_deviation=since[index],
            agrees=agreed[index],
            kind=score.label_kind,
            nll=score.label_nll,
            tokens=(score.label_tokens or 0) if score.label_nll is not None else 0,
            reverse_kl=score.reverse_kl,
            reverse_kl_tokens=score.reverse_kl_tokens or 0,
        )
        for index, score in enumerate(scored.scores)
        if score is not None
    ]
    return JudgedTrajectory(task_id=scored.trajectory.task_id, turns=tuple(turns), deviates=False in agreed)
