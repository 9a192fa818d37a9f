"""Supervised fine-tuning on the teacher's resolved trajectories: behaviour cloning (paper §2, Table 2)."""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.trajectory import Trajectory
from turnmix.methods.method import Method, Taught
from turnmix.methods.objective_settings import ObjectiveSettings
from turnmix.methods.targets import executed_action, imitate
from turnmix.rollout.mixture import MixtureSettings


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    return imitate(trajectories, executed_action)


SFT = Method(
    name="sft",
    title="SFT",
    mixture=lambda: MixtureSettings(kind="teacher"),
    mixtures=("teacher",),
    filter="resolved",
    label=False,
    transitions=_transitions,
    acts="the teacher on every turn; resolved trajectories are kept",
    taught="the executed action",
    weight="1",
)
