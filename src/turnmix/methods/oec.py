"""Expert corrections: the teacher takes over after a student prefix; what it then did is taught, where it led
to a resolved task."""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_teachers_turns
from turnmix.rollout.mixture import AggrevateMixtureSettings

OEC = Method(
    name="oec",
    title="Expert corrections (OEC)",
    mixture=AggrevateMixtureSettings(),
    filter="resolved",
    label=False,
    transitions=teach_teachers_turns,
    acts="the student for κ turns, then the teacher; resolved trajectories are kept",
    taught="the teacher's executed turns only",
    weight="1",
)
