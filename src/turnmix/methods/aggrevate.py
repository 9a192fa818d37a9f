"""AggreVaTe-style: a student prefix, then the teacher; its label in every visited state (paper Eq. 9, 10)."""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_labels
from turnmix.rollout.mixture import AggrevateMixtureSettings

AGGREVATE = Method(
    name="aggrevate",
    title="AggreVaTe-style",
    mixture=AggrevateMixtureSettings(),
    filter="submitted",
    label=True,
    transitions=teach_labels,
    acts="the student for κ turns, then the teacher; submitted trajectories are kept",
    taught="the teacher's action in every visited state",
    weight="1",
)
