"""Every trajectory of an evaluation with its primary failure mode, and how far that is to be believed.

In: trajectories, where their tasks are solved, and a judge's answers, as they are stored. Out: counts. A trajectory is
one of these: resolved, unresolved with a mode, unresolved and not judged, a failure of the infrastructure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from turnmix.analysis.failures.cohen_kappa import Kappa, cohen_kappa
from turnmix.analysis.failures.judge import Judge, Judgement, question_about
from turnmix.analysis.failures.labelled_set import HandLabelled
from turnmix.analysis.failures.modes import JUDGED, FailureMode
from turnmix.analysis.failures.rules import mode_by_rule
from turnmix.analysis.failures.unresolved import Unresolved
from turnmix.core.trajectory import StopReason, Trajectory
from turnmix.core.usage import Usage
from turnmix.environments.solution_outline import SolutionOutline

_LEFT = "left to a judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Of one evaluation."""

    num_trajectories: int
    num_infra_errors: int
    num_resolved: int
    modes: Mapping[FailureMode, int]
    num_not_judged: int
    """Unresolved; no rule decides, and no judge gave a mode."""
    num_unreadable: int
    """Of these: a judge answered, and named no mode."""

    @property
    def num_judged(self) -> int:
        return self.num_trajectories - self.num_infra_errors

    @property
    def num_unresolved(self) -> int:
        return self.num_judged - self.num_resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What rules and judge say of one trajectory."""

    mode: FailureMode | None
    """None: no rule decides, and no answer of the judge's names a mode."""
    is_unreadable: bool = False
    """There is an answer, and it names none."""


class ModeFinder:
    """Rules, then the answers of a judge."""

    def __init__(self, judge: Judge | None, answers: Mapping[str, Judgement]) -> None:
        self._judge = judge
        self._answers = answers
        self._used: dict[str, Usage] = {}

    def copy(self) -> ModeFinder:
        """Another one, which has looked up what this one has."""
        other = ModeFinder(self._judge, self._answers)
        other._used.update(self._used)
        return other

    @property
    def judge(self) -> Judge | None:
        return self._judge

    @property
    def usage(self) -> Usage:
        """What the answers cost that were looked up so far."""
        return sum(self._used.values(), Usage())

    def find(self, unresolved: Unresolved) -> Found:
        mode = mode_by_rule(unresolved)
        if mode is not None or self._judge is None:
            return Found(mode=mode)
        question = question_about(unresolved, self._judge)
        if (judgement := self._answers.get(question.id)) is None:
            return Found(mode=None)
        self._used[question.id] = judgement.usage
        named = judgement.mode(question.modes)
        return Found(mode=named, is_unreadable=named is None)


def unresolved_of(
    trajectories: Iterable[Trajectory], outlines: Mapping[str, SolutionOutline]
) -> list[Unresolved]:
    """Those that were judged and not resolved."""
    return [
        Unresolved(trajectory=trajectory, outline=outlines.get(trajectory.task_id))
        for trajectory in trajectories
        if _is_judged(trajectory) and trajectory.verdict is not None and not trajectory.verdict.resolved
    ]


def findings_of(
    trajectories: Iterable[Trajectory], outlines: Mapping[str, SolutionOutline], finder: ModeFinder
) -> Findings:
    trajectories = list(trajectories)
    unresolved = unresolved_of(trajectories, outlines)
    found = [finder.find(each) for each in unresolved]
    num_judged = sum(map(_is_judged, trajectories))
    return Findings(
        num_trajectories=len(trajectories),
        num_infra_errors=len(trajectories) - num_judged,
        num_resolved=num_judged - len(unresolved),
        modes=Counter(each.mode for each in found if each.mode is not None),
        num_not_judged=sum(each.mode is None for each in found),
        num_unreadable=sum(each.is_unreadable for each in found),
    )


def kappa_of_rules(labelled: Iterable[HandLabelled]) -> Kappa:
    """The rules' answers, `left to a judge` among them, against the reader's."""
    return cohen_kappa(
        [
            (_LEFT if each.mode in JUDGED else each.mode.value, _named(mode_by_rule(each.unresolved)))
            for each in labelled
        ]
    )


def kappa_with_judge(labelled: Iterable[HandLabelled], finder: ModeFinder) -> Kappa:
    """Of those that the rules, or else the judge, gave a mode."""
    pairs = [(each.mode.value, finder.find(each.unresolved).mode) for each in labelled]
    return cohen_kappa([(read, found.value) for read, found in pairs if found is not None])


def _named(mode: FailureMode | None) -> str:
    return _LEFT if mode is None else mode.value


def _is_judged(trajectory: Trajectory) -> bool:
    return trajectory.verdict is not None and trajectory.stop_reason is not StopReason.infra_error
