"""What the driver of a cluster says to its workers, and they to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from turnmix.cluster.acting import SentStudent
from turnmix.cluster.served import SentServed
from turnmix.core.trajectory import StopReason, Trajectory, Unfinished
from turnmix.environments.repositories.archive.execution import Execution
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.policies.policy import Policy
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.turn_recorder import TakesOver


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessParts:
    """What the process of every worker is to be like."""

    directory: str
    """The driver's current one: of paths, where it is on the worker's machine too."""
    import_path: Sequence[str]
    """Where the driver finds code of the user's."""

    @classmethod
    def here(cls) -> ProcessParts:
        """As this one."""
        return cls(directory=os.getcwd(), import_path=[os.path.abspath(each) for each in sys.path])


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """What a worker that rolls out is made of."""

    process: ProcessParts
    recipe_yaml: str
    moment: datetime | None
    """What templates show as now."""
    logs: Path
    """The run's directory, where what scaffolds say is kept if the worker sees it."""


class Work(Protocol):
    """What is dealt out to one worker at a time."""

    @property
    def size(self) -> int:
        """Of a worker's slots that it takes."""

    @property
    def told(self) -> str:
        """What it is, for a person."""

    def begin(self, actor: Any) -> Any:
        """Have the worker do it; its results as they come, references in an asynchronous iterator."""

    def figure(self, result: Any) -> str:
        """As what a result is counted."""


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
    backoff_seconds: float
    unfinished: Unfinished
    accidents: Callable[..., Accidents] | None
    """Made with their policy, which is the task source's."""
    takes_over: TakesOver | None
    is_taught: bool

    @property
    def size(self) -> int:
        return len(self.plans)

    @property
    def told(self) -> str:
        return f"trajectories {self.plans[0].trajectory_id} to {self.plans[-1].trajectory_id}"

    def begin(self, actor: Any) -> Any:
        return actor.roll_out.options(num_returns="streaming").remote(self)

    def figure(self, result: Trajectory) -> str:
        if result.stop_reason is StopReason.infra_error:
            return "infra_errors"
        return "rollouts" if self.is_taught else "evaluated"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionOrder:
    """The tests of a row to be run on a patch."""

    row: TaskRow
    digest: str
    """Of the archive of its code."""
    archive: Any
    """A reference to it."""
    patch: bytes

    @property
    def size(self) -> int:
        return 1

    @property
    def told(self) -> str:
        return f"tests of {self.row.repository}"

    def begin(self, actor: Any) -> Any:
        return actor.execute.options(num_returns="streaming").remote(self)

    def figure(self, result: Execution) -> str:
        return "executions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Of a worker."""

    node: str
    """Ray's id of the machine."""
    name: str
    """The machine, as a person knows it."""
