"""What methods teach. In: kept trajectories and the objective's settings. Out: transitions (paper Eq. 11).

A method takes one of these, or a function of its own made of `targets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from turnmix.core.trajectory import Trajectory
from turnmix.core.transition import Transition, compared, weighed_by_ratio
from turnmix.methods.method import Taught
from turnmix.methods.targets import (
    executed_action,
    imitate,
    rejected_turns,
    sampled_turns,
    teacher_label,
    teachers_turn,
)
from turnmix.training.objective_settings import ObjectiveSettings


def teach_labels(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    """The teacher's action in every visited state, whoever acted, once."""
    return imitate(trajectories, teacher_label, once_a_state=True)


def teach_executed(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    """What was executed, whoever acted."""
    return imitate(trajectories, executed_action)


def teach_teachers_turns(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    """What the teacher executed."""
    # Other turns lack a target by design, so only the malformed ones say something.
    taught = imitate(trajectories, teachers_turn)
    figures = {name: figure for name, figure in taught.figures.items() if name != "targets_missing"}
    return replace(taught, figures=figures)


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


def unseen_ends(name: str) -> Mapping[str, str]:
    """Filters that keep from a method the states in which the student itself went wrong, with what is told of them."""
    reason = (
        f"{name} then learns in none of the states that lead to another end, though the student visits them too; "
        "data.filter=all keeps them"
    )
    return dict.fromkeys(("submitted", "resolved", "finished"), reason)
