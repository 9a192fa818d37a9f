"""DAgger-style: mixed turn by turn, the teacher's label in every visited state (paper Eq. 8, 10)."""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.trajectory import Trajectory
from turnmix.methods.method import Method, Taught
from turnmix.methods.objective_settings import ObjectiveSettings
from turnmix.methods.targets import imitate, teacher_label
from turnmix.rollout.mixture import MixtureSettings


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    return imitate(trajectories, teacher_label)


DAGGER = Method(
    name="dagger",
    title="DAgger-style",
    mixture=lambda: MixtureSettings(kind="dagger"),
    mixtures=("dagger", "student"),
    filter="submitted",
    label=True,
    transitions=_transitions,
    acts="each turn the teacher with probability β_i, else the student; submitted trajectories are kept",
    taught="the teacher's action in every visited state",
    weight="1",
)
