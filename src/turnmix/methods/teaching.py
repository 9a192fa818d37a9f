"""What methods teach. In: kept trajectories and the objective's settings. Out: transitions (paper Eq. 11).

A method takes one of these, or a function of its own made of `targets`.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.trajectory import Trajectory
from turnmix.core.transition import Transition, compared, weighed_by_ratio
from turnmix.methods.method import Taught
from turnmix.methods.targets import executed_action, imitate, rejected_turns, sampled_turns, teacher_label
from turnmix.training.objective_settings import ObjectiveSettings


def teach_labels(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    """The teacher's action in every visited state, whoever acted, once."""
    return imitate(trajectories, teacher_label, once_a_state=True)


def teach_executed(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    """What was executed, whoever acted."""
    return imitate(trajectories, executed_action)


def teach_sampled(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    """The student's own turns, as the tokens that it sampled; none of the teacher's."""
    return Taught(
        transitions=[
            as_sampled(each, objective) for trajectory in trajectories for each in sampled_turns(trajectory)
        ],
        figures=rejected_turns(trajectories),
    )


def as_sampled(transition: Transition, objective: ObjectiveSettings) -> Transition:
    """`transition` with log π of its tokens under the student that sampled them, where the objective has a ratio to
    that and they are known."""
    logprobs = transition.target.logprobs
    if logprobs is None or not objective.has_ratio:
        return transition
    return (weighed_by_ratio if objective.needs_scores else compared)(transition, logprobs)
