"""Tasks of the user's own, watched: what fails in them by mistake is told with its own file and line.

What they raise on purpose passes: an `InfrastructureError`, after which a trajectory is tried again, or a `UserError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

from turnmix.core.errors import PluginError
from turnmix.core.plugins import telling_faults
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import (
    Environment,
    HasAccidents,
    HasExpert,
    HasSandbox,
    HasStepKinds,
    Split,
    Step,
    TaskSource,
)
from turnmix.environments.solution_outline import HasSolutionOutlines, SolutionOutline
from turnmix.policies.accident import AccidentPolicy
from turnmix.policies.policy import Inspectable, Policy

Thing = TypeVar("Thing")
_BESIDE = ("grader", "rows")
"""What a source may have beside, as one does that builds on the task file's."""
_OF_ENVIRONMENT = ("reset", "step", "verify", "close")


class PluginSource:
    """`source`, of the plugin `name`."""

    def __init__(self, source: TaskSource, *, name: str) -> None:
        self._source = source
        self._plugin = name
        # A protocol asks for what a source has, which is known here alone.
        vars(self).update({each: getattr(source, each) for each in _BESIDE if hasattr(source, each)})
        if isinstance(source, HasExpert):
            vars(self)["expert"] = self._expert
        if isinstance(source, HasAccidents):
            vars(self)["accident"] = self._accident
        if isinstance(source, HasStepKinds):
            vars(self)["step_kind"] = self._step_kind
        if isinstance(source, HasSolutionOutlines):
            vars(self)["solution_outline"] = self._solution_outline

    def tasks(self, split: Split) -> Sequence[Task]:
        with telling_faults(self._plugin):
            tasks = self._source.tasks(split)
        _check_members(tasks, ("__len__", "__getitem__"), f"tasks({split!r})", "a list", self._plugin)
        return _PluginTasks(tasks, name=self._plugin)

    def environment(self, task: Task) -> Environment:
        with telling_faults(self._plugin):
            environment = self._source.environment(task)
        _check_members(environment, _OF_ENVIRONMENT, "environment(task)", "an Environment", self._plugin)
        return _PluginEnvironment(environment, name=self._plugin)

    def _expert(self) -> Policy | None:
        assert isinstance(self._source, HasExpert)
        with telling_faults(self._plugin):
            expert = self._source.expert()
        if expert is not None:
            _check_members(expert, ("name", "begin"), "expert()", "a Policy, or None", self._plugin)
        return expert

    def _accident(self, kind: str) -> AccidentPolicy | None:
        assert isinstance(self._source, HasAccidents)
        with telling_faults(self._plugin):
            accident = self._source.accident(kind)
        if accident is not None:
            members, wanted = ("name", "begin"), "an AccidentPolicy, or None"
            _check_members(accident, members, f"accident({kind!r})", wanted, self._plugin)
        return accident

    def _step_kind(self, action: Action) -> str:
        assert isinstance(self._source, HasStepKinds)
        with telling_faults(self._plugin):
            kind = self._source.step_kind(action)
        return _of_type(str, kind, "step_kind(action)", self._plugin)

    def _solution_outline(self, task: Task) -> SolutionOutline | None:
        assert isinstance(self._source, HasSolutionOutlines)
        with telling_faults(self._plugin):
            outline = self._source.solution_outline(task)
        if outline is None:
            return None
        return _of_type(SolutionOutline, outline, "solution_outline(task)", self._plugin)


class _PluginTasks(Sequence[Task]):
    def __init__(self, tasks: Sequence[Task], *, name: str) -> None:
        self._tasks = tasks
        self._plugin = name

    def __len__(self) -> int:
        with telling_faults(self._plugin):
            return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        with telling_faults(self._plugin):
            task = self._tasks[index]
        return _of_type(Task, task, f"tasks(…)[{index}]", self._plugin)


class _PluginEnvironment:
    def __init__(self, environment: Environment, *, name: str) -> None:
        self._environment = environment
        self._plugin = name
        if isinstance(environment, Inspectable):
            vars(self)["privileged_view"] = _told(environment.privileged_view, name)
        with telling_faults(name):
            if isinstance(environment, HasSandbox):
                vars(self).update(
                    sandbox=environment.sandbox, working_directory=environment.working_directory
                )

    async def reset(self) -> State:
        with telling_faults(self._plugin):
            state = await self._environment.reset()
        if not _of_type(State, state, "reset()", self._plugin).messages:
            raise PluginError(f"{self._plugin}: reset() returned a state without a message: give the task's")
        return state

    async def step(self, action: Action) -> Step:
        with telling_faults(self._plugin):
            step = await self._environment.step(action)
        return _of_type(Step, step, "step(action)", self._plugin)

    async def verify(self, stop_reason: StopReason) -> Verdict:
        with telling_faults(self._plugin):
            verdict = await self._environment.verify(stop_reason)
        return _of_type(Verdict, verdict, "verify(stop_reason)", self._plugin)

    async def close(self) -> None:
        with telling_faults(self._plugin):
            await self._environment.close()


def _told(function: Any, name: str) -> Any:
    def told(*arguments: Any) -> Any:
        with telling_faults(name):
            return function(*arguments)

    return told


def _of_type(wanted: type[Thing], found: Any, call: str, name: str) -> Thing:
    if not isinstance(found, wanted):
        raise PluginError(f"{name}: {call} returned {found!r:.100}: return a {wanted.__name__}")
    return found


def _check_members(found: Any, members: Sequence[str], call: str, wanted: str, name: str) -> None:
    if lacking := [each for each in members if not hasattr(found, each)]:
        raise PluginError(
            f"{name}: {call} returned {found!r:.100}, which has no {lacking[0]}: return {wanted}"
        )
