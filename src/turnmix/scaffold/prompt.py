"""The first messages of a trajectory: a system prompt and the task.

The bundled sets lie as text files under `prompts/`; a user replaces either file by a path of their own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal

from turnmix.core.errors import RecipeError
from turnmix.core.message import Message
from turnmix.core.settings import Settings
from turnmix.core.task import Task
from turnmix.scaffold.observation import printable


class PromptSettings(Settings):
    name: Literal["minimal", "codeact"] = "minimal"
    """Which bundled set of prompts; codeact says how to go about real repositories, as OpenHands' does."""
    system_file: Path | None = None
    """A text file in place of the set's system prompt; an empty file means no system message."""
    user_file: Path | None = None
    """A text file in place of the set's first user message. It holds {problem_statement} and may hold
    {working_directory}; other braces stay as they are."""


class Prompt:
    """The prompt files, read once."""

    def __init__(self, settings: PromptSettings) -> None:
        self.system = _read(settings, "system", settings.system_file)
        self.user = _read(settings, "user", settings.user_file)
        if "{problem_statement}" not in self.user:
            raise RecipeError(
                f"scaffold.prompt.user_file: {settings.user_file} does not contain {{problem_statement}}; "
                "put it where the task's text belongs"
            )

    def messages(self, task: Task) -> tuple[Message, ...]:
        directory = "" if task.workspace is None else task.workspace.working_directory
        values = {"problem_statement": task.problem_statement, "working_directory": directory}
        # One pass, so that braces inside a problem statement are never taken for placeholders.
        user = re.sub(r"\{(problem_statement|working_directory)\}", lambda match: values[match[1]], self.user)
        system = (Message(role="system", content=self.system),) if self.system else ()
        return (*system, Message(role="user", content=printable(user)))


@lru_cache(maxsize=8)
def prompt_for(settings: PromptSettings) -> Prompt:
    """The prompt of `settings`, its files read at the first call only. Raises RecipeError."""
    return Prompt(settings)


def _read(settings: PromptSettings, part: str, replacement: Path | None) -> str:
    try:
        if replacement is not None:
            return replacement.expanduser().read_text(encoding="utf-8").strip()
        file = resources.files("turnmix.scaffold") / "prompts" / settings.name / f"{part}.txt"
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as failure:
        raise RecipeError(
            f"scaffold.prompt.{part}_file: cannot read {replacement} as UTF-8 text ({failure}): give a text file, or "
            "leave it out"
        ) from failure
