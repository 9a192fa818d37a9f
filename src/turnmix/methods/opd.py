"""On-policy distillation: the student's own tokens, each judged by the teacher (paper Eq. 21, 22)."""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.trajectory import Trajectory
from turnmix.methods.method import Method, Taught
from turnmix.methods.targets import sampled_turns
from turnmix.rollout.mixture import MixtureSettings
from turnmix.training.objective_settings import ObjectiveSettings


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    return Taught(transitions=[each for trajectory in trajectories for each in sampled_turns(trajectory)])


OPD = Method(
    name="opd",
    title="OPD",
    mixture=lambda: MixtureSettings(kind="student"),
    mixtures=("student",),
    filter="submitted",
    doubtful_filters={
        name: "opd then learns in none of the states that lead to another end, though the student visits them too; "
        "data.filter=all keeps them"
        for name in ("submitted", "resolved")
    },
    label=False,
    objective="reverse_kl",
    transitions=_transitions,
    acts="the student on every turn; submitted trajectories are kept",
    taught="the executed action",
    weight="log π_teacher − log π_student per token",
)
