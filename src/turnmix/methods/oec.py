"""Expert corrections: the teacher takes over after a student prefix; what it then did is taught, where it led
to a resolved task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from turnmix.core.trajectory import Trajectory
from turnmix.methods.method import Method, Taught
from turnmix.methods.targets import imitate, teachers_turn
from turnmix.rollout.mixture import AggrevateMixtureSettings
from turnmix.training.objective_settings import ObjectiveSettings


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    # The student's turns lack a target by design, so only the malformed ones say something.
    taught = imitate(trajectories, teachers_turn)
    figures = {name: figure for name, figure in taught.figures.items() if name != "targets_missing"}
    return replace(taught, figures=figures)


OEC = Method(
    name="oec",
    title="Expert corrections (OEC)",
    mixture=AggrevateMixtureSettings(),
    filter="resolved",
    label=False,
    transitions=_transitions,
    acts="the student for κ turns, then the teacher; resolved trajectories are kept",
    taught="the teacher's executed turns only",
    weight="1",
)
