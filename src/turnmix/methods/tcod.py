"""TCOD (2604.24005): OPD in ever more of a trajectory, a curriculum over its turns.

From its abstract and its repository's README: forward begins with the early turns and goes on to later ones; backward
begins with the last turns and goes on to earlier ones; the depth grows linearly. What TurnMix takes that to be:

    forward   the student for k turns, k growing; then the teacher completes, which costs its turns and gives a verdict
    backward  the teacher acts afresh in place of a replay, for ever fewer turns; then the student, to the end
"""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_sampled, unseen_ends
from turnmix.rollout.mixture import AggrevateMixtureSettings, TeacherPrefixMixtureSettings
from turnmix.training.objective_settings import ReverseKlSettings

TCOD_FORWARD = Method(
    name="tcod_forward",
    title="TCOD, forward",
    mixture=AggrevateMixtureSettings(schedule="growing"),
    filter="all",
    doubtful_filters=unseen_ends("tcod_forward"),
    label=False,
    objective=ReverseKlSettings(),
    transitions=teach_sampled,
    acts="the student for k turns, k growing, then the teacher; all trajectories are kept",
    taught="the student's executed turns",
    weight="log π_teacher − log π_student per token",
)
TCOD_BACKWARD = Method(
    name="tcod_backward",
    title="TCOD, backward",
    mixture=TeacherPrefixMixtureSettings(),
    filter="all",
    doubtful_filters=unseen_ends("tcod_backward"),
    label=False,
    objective=ReverseKlSettings(),
    transitions=teach_sampled,
    acts="the teacher for k turns, k shrinking, then the student; all trajectories are kept",
    taught="the student's executed turns",
    weight="log π_teacher − log π_student per token",
)
