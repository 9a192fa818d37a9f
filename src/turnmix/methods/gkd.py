"""Generalized knowledge distillation (GKD, 2306.13649): whole trajectories of the student's or of the teacher's.

A trajectory is the student's with probability λ, else the teacher's; either way each token of whoever acted is taught
by a divergence between the two distributions there. GKD leaves open which one: here it is KL(student ‖ teacher), summed
over the vocabulary and never estimated from sampled tokens, since half of them are not the student's. GKD's data of the
teacher's is fixed; here it is rolled out with the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from turnmix.core.trajectory import Trajectory
from turnmix.methods.method import Method, Taught
from turnmix.methods.targets import sampled_turns
from turnmix.methods.teaching import teach_teachers_turns
from turnmix.rollout.mixture import TrajectoryMixtureSettings
from turnmix.training.objective_settings import ObjectiveSettings, ReverseKlSettings


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    """The student's turns as it sampled them, malformed or not; the teacher's as they are imitated elsewhere."""
    teachers = teach_teachers_turns(trajectories, objective)
    students = [each for trajectory in trajectories for each in sampled_turns(trajectory)]
    return replace(teachers, transitions=[*teachers.transitions, *students])


GKD = Method(
    name="gkd",
    title="GKD",
    mixture=TrajectoryMixtureSettings(),
    filter="all",
    label=False,
    objective=ReverseKlSettings(estimate="full"),
    refused_estimates={"sampled": "gkd teaches the teacher's tokens too, which the student did not sample"},
    transitions=_transitions,
    acts="each trajectory: the student on every turn with probability λ, else the teacher; all are kept",
    taught="the executed action",
    weight="KL(student ‖ teacher) per token",
)
