"""A task: what the agent may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnmix.core.field_check import require


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where the agent works, in a world that has files."""

    working_directory: str
    files: Mapping[str, str] = field(default_factory=dict)
    """Text files laid into the working directory at the start, by relative path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One problem, as the agent may see it."""

    id: str
    problem_statement: str
    workspace: Workspace | None = None
    """None: the world has no files."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What else its source says of it, as JSON, for a scaffold of the user's own; no environment reads it."""

    def __post_init__(self) -> None:
        """Raises ValueError: a field is of another kind than it must be."""
        require(str, self.id, field="Task.id")
        require(str, self.problem_statement, field="Task.problem_statement")
        if self.workspace is not None:
            require(Workspace, self.workspace, field="Task.workspace")
