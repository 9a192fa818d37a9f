"""Guided-OPD (2606.15912): OPD in rollouts that a teacher guides, turn by turn, ever less.

From its abstract: teacher and student turns are mixed within a rollout, and the teacher's probability decays to zero.
How fast is TurnMix's choice: 0.8, 0.6, 0.4, 0.2, 0. So is what is taught, the student's own turns alone.
"""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_sampled, unseen_ends
from turnmix.rollout.mixture import DaggerMixtureSettings
from turnmix.training.objective_settings import ReverseKlSettings

GUIDED_OPD = Method(
    name="guided_opd",
    title="Guided-OPD",
    mixture=DaggerMixtureSettings(start=0.8, decay=0.2, floor=0),
    filter="all",
    doubtful_filters=unseen_ends("guided_opd"),
    label=False,
    objective=ReverseKlSettings(),
    transitions=teach_sampled,
    acts="each turn the teacher with probability β_i → 0, else the student; all trajectories are kept",
    taught="the student's executed turns",
    weight="log π_teacher − log π_student per token",
)
