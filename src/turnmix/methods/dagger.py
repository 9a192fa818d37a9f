"""DAgger-style: mixed turn by turn, the teacher's label in every visited state (paper Eq. 8, 10)."""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_labels
from turnmix.rollout.mixture import DaggerMixtureSettings

DAGGER = Method(
    name="dagger",
    title="DAgger-style",
    mixture=DaggerMixtureSettings(),
    other_mixtures=("student",),
    filter="submitted",
    label=True,
    transitions=teach_labels,
    acts="each turn the teacher with probability β_i, else the student; submitted trajectories are kept",
    taught="the teacher's action in every visited state",
    weight="1",
)
