"""Evaluation: the student alone, β = 0, no labels, on holdout tasks (paper §4.1).

In: tasks and a student that decodes greedily. Out: resolved of n with a 95 % Wilson interval, mean turns,
stop reasons. Infra_errors are excluded from n and counted.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnmix.core.task import Task
from turnmix.core.trajectory import Actor, StopReason, Trajectory, Unfinished
from turnmix.core.usage import Usage, total_usage
from turnmix.evaluation.interval import wilson
from turnmix.policies.policy import Policy
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.rollout.mixture import StudentMixture, TeacherMixture
from turnmix.rollout.plan import RolloutPlan, make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.rollout.tool_fault_count import ToolFaultCount


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How many of n judged tasks a student resolved."""

    resolved: int
    submitted: int
    n: int
    low: float
    high: float
    mean_turns: float | None
    """None: nothing was judged."""
    unfinished: int = 0
    """Of the n, those whose agent did not call finish."""
    unfinished_are: Unfinished = "unresolved"
    """What became of these."""
    stop_reasons: Mapping[str, int]
    """Of the n judged trajectories."""
    mean_reward: float | None = None
    """Of those whose world gives one; None: none does."""
    infra_errors: int
    """Trajectories that failed around the agent; not in n."""
    usage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What asking each policy cost, all trajectories included."""
    tool_faults: Sequence[Mapping[str, Any]] = ()
    """Of each tool that failed: where, with what error first, and how often; all trajectories included."""

    @property
    def rate(self) -> float | None:
        return self.resolved / self.n if self.n else None

    def to_json(self) -> dict[str, Any]:
        return {
            "resolved": self.resolved,
            "submitted": self.submitted,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "mean_turns": self.mean_turns,
            "mean_reward": self.mean_reward,
            "unfinished": self.unfinished,
            "unfinished_are": self.unfinished_are,
            "stop_reasons": dict(self.stop_reasons),
            "infra_errors": self.infra_errors,
            "usage": {who: dict(used) for who, used in self.usage.items()},
            **({"tool_faults": list(self.tool_faults)} if self.tool_faults else {}),
        }


def summarise(trajectories: Iterable[Trajectory], *, unfinished: Unfinished = "unresolved") -> Evaluation:
    """The figures of trajectories already rolled out, of which one is held at a time. `unfinished`: as they were rolled
    out with."""
    stop_reasons: Counter[str] = Counter()
    resolved = submitted = turns = infra_errors = 0
    rewards: list[float] = []
    faults = ToolFaultCount()

    def counted() -> Iterator[Mapping[str, Usage]]:
        nonlocal resolved, submitted, turns, infra_errors
        for trajectory in trajectories:
            verdict = trajectory.verdict
            if verdict is None or trajectory.stop_reason is StopReason.infra_error:
                infra_errors += 1
            else:
                stop_reasons[trajectory.stop_reason.value] += 1
                resolved += verdict.resolved
                submitted += trajectory.submitted
                rewards.extend([] if verdict.reward is None else [verdict.reward])
                turns += len(trajectory.turns)
            faults.add(trajectory)
            yield trajectory.usage

    usage = total_usage(counted())
    n = stop_reasons.total()
    low, high = wilson(resolved, n)
    return Evaluation(
        resolved=resolved,
        submitted=submitted,
        n=n,
        low=low,
        high=high,
        mean_turns=turns / n if n else None,
        mean_reward=statistics.fmean(rewards) if rewards else None,
        unfinished=n - stop_reasons[StopReason.finished.value],
        unfinished_are=unfinished,
        stop_reasons=dict(sorted(stop_reasons.items())),
        infra_errors=infra_errors,
        usage=usage,
        tool_faults=faults.to_json(),
    )


def evaluation_plans(
    tasks: Sequence[Task], *, iteration: int, seed: int, cohort_size: int
) -> list[RolloutPlan]:
    """Plans for one evaluation, ids like `e002-00007`; iteration 0 is the student before any training."""
    return make_plans(tasks, iteration=iteration, seed=seed, cohort_size=cohort_size, beta=0.0, prefix="e")


def evaluation_request(policy: Policy, *, actor: Actor = "student", **asked: Any) -> RolloutRequest:
    """One policy on every turn, as `actor`, without labels. Whether it decodes greedily is its own to set. `asked`: the
    other fields of a `RolloutRequest`."""
    is_student = actor == "student"
    return RolloutRequest(
        student=policy if is_student else ScriptedPolicy.of_actions("nobody", [text_action("")]),
        teacher=None if is_student else policy,
        mixture=StudentMixture() if is_student else TeacherMixture(),
        label=False,
        **asked,
    )
