"""AggreVaTe-style: a student prefix, then the teacher; its label in every visited state (paper Eq. 9, 10)."""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.trajectory import Trajectory
from turnmix.methods.method import Method, Taught
from turnmix.methods.objective_settings import ObjectiveSettings
from turnmix.methods.targets import imitate, teacher_label
from turnmix.rollout.mixture import MixtureSettings


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    return imitate(trajectories, teacher_label)


AGGREVATE = Method(
    name="aggrevate",
    title="AggreVaTe-style",
    mixture=lambda: MixtureSettings(kind="aggrevate"),
    mixtures=("aggrevate",),
    filter="submitted",
    label=True,
    transitions=_transitions,
    acts="the student for κ turns, then the teacher; submitted trajectories are kept",
    taught="the teacher's action in every visited state",
    weight="1",
)
