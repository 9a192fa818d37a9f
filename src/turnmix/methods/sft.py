"""Supervised fine-tuning on the teacher's resolved trajectories: behaviour cloning (paper §2, Table 2)."""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_executed
from turnmix.rollout.mixture import TeacherMixtureSettings

SFT = Method(
    name="sft",
    title="SFT",
    mixture=TeacherMixtureSettings(),
    filter="resolved",
    label=False,
    transitions=teach_executed,
    acts="the teacher on every turn; resolved trajectories are kept",
    taught="the executed action",
    weight="1",
)
