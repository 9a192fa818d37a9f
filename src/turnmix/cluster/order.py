"""What the driver of a cluster says to its workers, and they to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from turnmix.cluster.acting import SentStudent
from turnmix.cluster.served import SentServed
from turnmix.core.trajectory import Unfinished
from turnmix.policies.policy import Policy
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.turn_recorder import TakesOver


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """What a worker is made of, beside the recipe."""

    recipe_yaml: str
    moment: datetime | None
    """What templates show as now."""
    directory: str
    """The driver's current one: of paths in the recipe, where it is on the worker's machine too."""
    import_path: Sequence[str]
    """Where the driver finds code of the user's."""
    logs: Path
    """The run's directory, where what scaffolds say is kept if the worker sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One cohort to roll out."""

    plans: Sequence[RolloutPlan]
    student: SentStudent | SentServed | Policy | None
    """One to be opened, or a policy that acts from anywhere; None: nobody acts as the student."""
    asks_teacher: bool
    mixture: Mixture
    label: bool | LabelGate
    attempts: int
    unfinished: Unfinished
    accidents: Callable[..., Accidents] | None
    """Made with their policy, which is the task source's."""
    takes_over: TakesOver | None
    is_taught: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Of a worker."""

    node: str
    """Ray's id of the machine."""
    name: str
    """The machine, as a person knows it."""
