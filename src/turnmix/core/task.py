"""A task: what the agent may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
