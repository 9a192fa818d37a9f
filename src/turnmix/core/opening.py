"""Where a line of turns begins anew within one trajectory (a foreign scaffold may condense, edit, branch, or have
sub-agents).

In: the turn that a state shares its history with, if any, and what comes then. Out: the state, by `Trajectory.state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnmix.core.message import Message, ToolSpecification


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The state of a turn that is not what the turn before it led to: a scaffold condensed or edited its history, began
    a sub-agent, branched off, or went on with an earlier line."""

    after: int | None
    """The turn (from 0) whose state, action and observation this state begins with; None: with nothing."""
    shared: int | None = None
    """Only the first so many messages of these; None: all."""
    messages: tuple[Message | int, ...] = ()
    """What comes then; a number stands for the executed action of that turn."""
    tools: tuple[ToolSpecification, ...] | None = None
    """Those on offer from here on; None: as before."""

    def check(self, turn: int) -> None:
        """Raises ValueError: as the opening of turn `turn` it names one that is not an earlier one, or shares less than
        nothing."""
        names = [each for each in self.messages if isinstance(each, int)]
        for field, each in (("after", self.after), *(("messages", each) for each in names)):
            if each is not None and not 0 <= each < turn:
                raise ValueError(
                    f"turns.{turn}.opening.{field}: {each}: give the number, from 0, of an earlier turn"
                )
        if self.shared is not None and self.shared < 0:
            raise ValueError(f"turns.{turn}.opening.shared: {self.shared}: give 0 or more, or leave it out")

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"after": self.after}
        if self.shared is not None:
            data["shared"] = self.shared
        if self.messages:
            data["messages"] = [each if isinstance(each, int) else each.to_json() for each in self.messages]
        if self.tools is not None:
            data["tools"] = [tool.to_json()["function"] for tool in self.tools]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Opening:
        tools = data.get("tools")
        return cls(
            after=data["after"],
            shared=data.get("shared"),
            messages=tuple(
                each if isinstance(each, int) else Message.from_json(each)
                for each in data.get("messages", ())
            ),
            tools=None if tools is None else tuple(ToolSpecification(**tool) for tool in tools),
        )
