"""The tools that touch nothing: `think` writes a thought into the history, `finish` ends the trajectory."""

from __future__ import annotations

from typing import Literal

from turnmix.scaffold.tool import Tool


class Think(Tool):
    """Write down a thought. Changes nothing."""

    kind: Literal["think"] = "think"

    async def call(self, thought: str) -> str:
        return "Your thought has been noted."


class Finish(Tool):
    """Submit your work and end. Call it when the task is done."""

    kind: Literal["finish"] = "finish"
    ends_trajectory = True

    async def call(self, message: str) -> str:
        return "Your work has been submitted."
