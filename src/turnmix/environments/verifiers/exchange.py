"""What passes between a rollout of verifiers, in its own thread, and a trajectory of TurnMix.

In: a request of the rollout's harness. Out: the answer that TurnMix's policy gives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True, eq=False)
class Exchange:
    """One rollout. Made and used in verifiers' event loop."""

    messages: Sequence[Mapping[str, Any]] = ()
    """The conversation as the harness has it."""
    tools: Sequence[Mapping[str, Any]] = ()
    asked: asyncio.Queue[bool] = field(default_factory=asyncio.Queue)
    """True: the rollout waits for an answer; False: it has ended."""
    answers: asyncio.Queue[Mapping[str, Any]] = field(default_factory=asyncio.Queue)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    stopped_by: str = ""
    run: asyncio.Task[Any] | None = None
    traces: list[str] = field(default_factory=list)
    """Their ids; of an attempt each."""

    async def answer(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The message of the policy."""
        self.messages, self.tools = body.get("messages") or (), body.get("tools") or ()
        self.asked.put_nowait(True)
        return await self.answers.get()


EXCHANGES: dict[str, Exchange] = {}
"""Those under way, by the id of verifiers' trace."""
