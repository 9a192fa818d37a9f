"""The tools that touch nothing: `think` writes a thought into the history, `finish` ends the trajectory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnmix.core.message import ToolSpecification


def _one_text(name: str, description: str, argument: str) -> ToolSpecification:
    return ToolSpecification(
        name=name,
        description=description,
        parameters={"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]},
    )


class Think:
    """Room for a thought."""

    specification = _one_text("think", "Write down a thought. Changes nothing.", "thought")
    ends_trajectory = False

    async def call(self, arguments: Mapping[str, Any]) -> str:
        return "Your thought has been noted."

    async def close(self) -> None:
        pass


class Finish:
    """The agent's statement that it is done: its patch is submitted."""

    specification = _one_text("finish", "Submit your work and end. Call it when the task is done.", "message")
    ends_trajectory = True

    async def call(self, arguments: Mapping[str, Any]) -> str:
        return "Your work has been submitted."

    async def close(self) -> None:
        pass
