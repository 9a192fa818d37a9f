"""What the oracle reads in the history of a state.

In: the messages, and the tools on offer. Out: the last command and what came of it, and all that was shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from turnmix.core.trajectory import Action, State
from turnmix.environments.oracle.offered_tools import NATIVE_TOOLS, OfferedTools

DIRECTORY = re.compile(r"\[Current working directory: (.*?)\]")
ELSEWHERE = ""
"""Where a shell may be that does not say it, once its directory was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the agent has done and seen, as far as the next step depends on it."""

    last_command: str = ""
    last_observation: str = ""
    observations: str = field(default="", repr=False)
    directory: str | None = None
    """Of the shell; None: where it began."""
    last_arguments: Mapping[str, object] = field(default_factory=dict)
    """Of the last call."""

    tools: OfferedTools = NATIVE_TOOLS
    """In which a step is said."""

    def has_just_done(self, step: Action) -> bool:
        """Whether the last call was that of `step`."""
        said = self.tools.say(step).message.tool_calls
        return bool(said) and dict(self.last_arguments) == dict(said[0].arguments)

    @classmethod
    def of(cls, state: State) -> History:
        messages = state.messages
        observed = [message.content for message in messages if message.role in ("tool", "user")]
        prompt = "\n".join(m.content for m in takewhile(lambda m: m.role in ("system", "user"), messages))
        tools = OfferedTools.of(state.tools, prompt=prompt)
        calls = [message.tool_calls[-1:] for message in messages if message.role == "assistant"]
        arguments = calls[-1][0].arguments if calls and calls[-1] else {}
        observations = "\n".join(observed)
        directories = DIRECTORY.findall(observations)
        commands = [tools.command_in(call.arguments) for last in calls for call in last]
        has_moved = not tools.is_native and any("cd " in command for command in commands)
        return cls(
            last_command=tools.command_in(arguments),
            last_observation=observed[-1] if observed else "",
            observations=observations,
            directory=directories[-1] if directories else ELSEWHERE if has_moved else None,
            last_arguments=arguments,
            tools=tools,
        )
