"""The door for an agent's tools. One class is one tool, the built-in ones and a user's own alike.

In: a call's arguments, as the annotations of `call` say them. Out: what the agent is answered.

    class Dice(Tool):
        \"\"\"Roll dice.\"\"\"                       # what the agent is told of it
        sides: int = 6                         # a setting: {kind: my_tools:Dice, sides: 20}
        _rolled: int = 0                       # its state, of one trajectory

        def call(self, times: Annotated[int, Field(ge=1, description="How many.")] = 1) -> str:
            self._rolled += times
            return f"{self._rolled} rolled"
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import Self

from turnmix.core.doors import DoorSettings
from turnmix.core.message import ToolSpecification
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.arguments import CallArguments

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What every provider takes as a tool's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolParts:
    """What a tool works with, in one trajectory."""

    sandbox: Sandbox
    """Where the agent's files are and its commands run. It fails with an InfrastructureError: let it pass."""
    working_directory: str
    """In the sandbox: where the task's files are."""
    max_observation_characters: int = 30_000
    """As `scaffold` says; likewise the others."""
    max_view_characters: int = 16_000
    no_output_seconds: float = 10.0
    hard_timeout_seconds: float = 120.0


class Tool(DoorSettings):
    """One tool of an agent. Its fields are its settings; a copy of it works for each trajectory, with private
    attributes of its own (`_rolled: int = 0`)."""

    kind: str
    """Which tool: a built-in one, or package.module:Name."""

    name: ClassVar[str] = ""
    """What the agent calls; left out, the name of the class, as in `look_up` for LookUp."""
    description: ClassVar[str] = ""
    """What the agent is told of it; left out, the first paragraph of the class's docstring."""
    ends_trajectory: ClassVar[bool] = False
    """The agent's work ends with a call that was not refused. It may be a property, which is asked after the call."""
    is_bounded: ClassVar[bool] = False
    """Its calls end in time, and what they answer is short: no other limits are laid on them."""

    _parts: ToolParts | None = None

    def call(self, *arguments: Any, **named: Any) -> Any:
        """What the agent is answered: text, or any value, which is shown as JSON; `error(text)` refuses the call.

        Each parameter is annotated, and given by its name. An `async` call must not block; one that is not async runs
        in a thread of its own. What it raises is told to the agent and counted, but an InfrastructureError.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Free what it holds. Safe to call twice."""

    @property
    def parts(self) -> ToolParts:
        """What it works with in its trajectory."""
        assert self._parts is not None, "a tool has its parts once its trajectory has begun"
        return self._parts

    def opened(self, parts: ToolParts) -> Self:
        """This tool for one trajectory."""
        made = type(self).model_construct(**{name: getattr(self, name) for name in type(self).model_fields})
        made._parts = parts
        return made

    @property
    def arguments(self) -> CallArguments:
        """How it is called. Raises ValueError: its `call` cannot be told to an agent."""
        if not inspect.isfunction(inspect.getattr_static(type(self), "call")):
            raise ValueError("its call is no method: write def call(self, …)")
        return CallArguments.of(type(self).call)

    @property
    def specification(self) -> ToolSpecification:
        """What the agent is told of it. Raises ValueError: that cannot be told."""
        name = self.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()
        if not NAME.fullmatch(name):
            raise ValueError(
                f"the tool's name is {name[:80]!r}: use 1 to 64 letters, digits, underscores and hyphens"
            )
        told = self.description or inspect.cleandoc(type(self).__doc__ or "").partition("\n\n")[0]
        description = " ".join(told.split("\n"))
        if not description.strip():
            raise ValueError(f"the tool {name} has no description: write a docstring under its class")
        return ToolSpecification(name=name, description=description, parameters=self.arguments.schema)
