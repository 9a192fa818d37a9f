"""A task: what the agent may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One problem, as the agent may see it."""

    id: str
    problem_statement: str
    working_directory: str
    files: Mapping[str, str]
    """Text files laid into the working directory at the start, by relative path."""
