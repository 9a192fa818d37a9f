"""The seam between a rollout and the world the agent acts in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from turnmix.core.doors import DoorSettings
from turnmix.core.errors import UserError
from turnmix.core.field_check import tuple_of
from turnmix.core.message import Message
from turnmix.core.task import Task
from turnmix.core.tool_fault import ToolFault
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.policies.accident import AccidentPolicy
from turnmix.policies.policy import Policy
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.settings import MakeSandbox
from turnmix.scaffold.scaffold import ScaffoldSettings

Split = Literal["train", "holdout"]
_NO_ACCIDENT = (
    "minirepo has breaking and harmless ones, a source of your own those of its method accident(kind)"
)
_STOP_REASONS = [reason for reason in StopReason if reason is not StopReason.infra_error]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an action led to."""

    observation: tuple[Message, ...]
    stop_reason: StopReason | None = None
    """None: the trajectory goes on."""
    tool_faults: tuple[ToolFault, ...] = ()
    """Tools that failed, of which the observation tells the agent; counted."""

    def __post_init__(self) -> None:
        """Raises ValueError: a field is of another kind than it must be."""
        observation = tuple_of(Message, self.observation, field="Step.observation")
        object.__setattr__(self, "observation", observation)
        object.__setattr__(
            self, "tool_faults", tuple_of(ToolFault, self.tool_faults, field="Step.tool_faults")
        )
        if self.stop_reason is not None and self.stop_reason not in _STOP_REASONS:
            allowed = ", ".join(reason.value for reason in _STOP_REASONS)
            raise ValueError(
                f"Step.stop_reason: {self.stop_reason!r:.100}: give None, or a StopReason: {allowed}; "
                "where the world itself failed, raise an InfrastructureError"
            )
        if self.stop_reason is not None:
            object.__setattr__(self, "stop_reason", StopReason(self.stop_reason))


class Environment(Protocol):
    """One trajectory's world. Where a privileged teacher may look into it, it is `Inspectable` too."""

    async def reset(self) -> State:
        """Start the world; the first state: prompt and tools. Raises InfrastructureError."""
        ...

    async def step(self, action: Action) -> Step:
        """Execute an action. Whatever the action is, this returns an observation; raises InfrastructureError only."""
        ...

    async def verify(self, stop_reason: StopReason) -> Verdict:
        """Judge the final state. Trusts nothing that the agent left behind. Raises InfrastructureError."""
        ...

    async def close(self) -> None:
        """Free the world. Safe to call twice."""


@runtime_checkable
class HasSandbox(Protocol):
    """An environment whose agent works with commands: once it was reset, a scaffold of the user's own may work in its
    place, in its sandbox."""

    @property
    def sandbox(self) -> Sandbox: ...
    @property
    def working_directory(self) -> str: ...


class TaskSource(Protocol):
    """A family of tasks with a train and a holdout split that share no task."""

    def tasks(self, split: Split) -> Sequence[Task]:
        """All tasks of a split, in a fixed order; the sequence may make its items lazily."""
        ...

    def environment(self, task: Task) -> Environment:
        """A fresh world for one trajectory of `task`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskParts:
    """What a recipe gives a task source beside its own settings. A world of its own kind may need none of it."""

    make_sandbox: MakeSandbox
    """A sandbox as the recipe's `sandbox` says, for a task whose agent runs commands."""
    scaffold: ScaffoldSettings
    """The agent's tools and budgets."""
    seed: int
    """Of the run."""


class TaskSettings(DoorSettings):
    """Which tasks. A subclass is a world: its fields are settings of the recipe's section `tasks`."""

    chosen_by: ClassVar[str] = "source"

    needs_sandbox: ClassVar[bool] = False
    """Is `parts.make_sandbox` called for each task? Then whether this machine can make one is known before a run."""

    has_world: ClassVar[bool] = True
    """Has a task an environment? Else a scaffold of the user's own brings the world."""

    source: str
    """Where tasks come from."""

    @property
    def is_for_evaluation(self) -> bool:
        """There is nothing to train on."""
        return False

    def make(self, parts: TaskParts) -> TaskSource:
        """The tasks; nothing is started yet.

        Raises:
            UserError: what the settings name is not there, or will not do.
        """
        raise NotImplementedError(f"{type(self).__name__} has no make")

    def container_images(self) -> Iterable[str]:
        """The containers' images that its tasks name, as far as they can be told without making anything."""
        return ()


@runtime_checkable
class HasExpert(Protocol):
    """A task source whose world has an expert: a teacher that knows more than any agent, and costs nothing to ask."""

    def expert(self) -> Policy | None:
        """The expert, to be closed by whoever asks; None: these tasks have none."""
        ...


def expert_of(source: TaskSource) -> Policy | None:
    """The expert of the source's world, to be closed by the caller; None: there is none."""
    return source.expert() if isinstance(source, HasExpert) else None


@runtime_checkable
class HasAccidents(Protocol):
    """A task source that knows what can go wrong in its world: `breaking` is what must be undone before anything else
    can succeed, `harmless` what looks alike and breaks nothing."""

    def accident(self, kind: str) -> AccidentPolicy | None:
        """The accident of this kind; None: these tasks have none such."""
        ...


@runtime_checkable
class HasStepKinds(Protocol):
    """A task source that tells what sort of step an action is, such as to look, to change or to undo."""

    def step_kind(self, action: Action) -> str:
        """In a word; every action has one."""
        ...


def accident_of(source: TaskSource, kind: str, *, field: str = "accidents") -> AccidentPolicy:
    """The source's accident of this kind. Raises UserError, naming `field`: there is none."""
    accident = source.accident(kind) if isinstance(source, HasAccidents) else None
    if accident is None:
        raise UserError(f"{field}: {kind!r}: these tasks have no such accident: {_NO_ACCIDENT}")
    return accident
