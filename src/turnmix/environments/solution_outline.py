"""What of a task's solution an analysis may know: which files it changes, never what it writes into them.

In: a task. Out: a `SolutionOutline`. Only sources know it: an agent, a policy and a state never do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from turnmix.core.task import Task
from turnmix.environments.environment import TaskSource


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionOutline:
    """Where a task is solved."""

    paths: frozenset[str]
    """The files that the solution changes, adds or removes, relative to the working directory."""
    passing_before: int | None = None
    """Of the tests that decide the task: those that pass before anything is changed. None: not known."""


@runtime_checkable
class HasSolutionOutlines(Protocol):
    """A task source that knows where its tasks are solved."""

    def solution_outline(self, task: Task) -> SolutionOutline | None:
        """Quickly, and without a sandbox. None: of this task it is not known."""
        ...


def solution_outline_of(source: TaskSource, task: Task) -> SolutionOutline | None:
    """None: the source does not tell."""
    return source.solution_outline(task) if isinstance(source, HasSolutionOutlines) else None
