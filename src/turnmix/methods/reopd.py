"""Step-limited replay (ReOPD, 2607.04763): OPD in a few turns of the student's behind a prefix of the teacher's.

Its text was not at hand. TurnMix takes it to be: the teacher acts for a number of turns drawn for each trajectory, the
student for a few, and the teacher again to the end, so that no state is far from the teacher's. The teacher acts
afresh; nothing recorded is replayed.
"""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_sampled, unseen_ends
from turnmix.rollout.mixture import TeacherPrefixMixtureSettings
from turnmix.training.objective_settings import ReverseKlSettings

REOPD = Method(
    name="reopd",
    title="Step-limited replay (ReOPD)",
    mixture=TeacherPrefixMixtureSettings(schedule="uniform", student_turns=2),
    filter="all",
    doubtful_filters=unseen_ends("reopd"),
    label=False,
    objective=ReverseKlSettings(),
    transitions=teach_sampled,
    acts="the teacher for κ turns, the student for 2, then the teacher; all trajectories are kept",
    taught="the student's executed turns",
    weight="log π_teacher − log π_student per token",
)
