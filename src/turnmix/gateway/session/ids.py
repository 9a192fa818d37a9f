"""Ids on the wire. Two models number their calls each in its own way, and two turns may use one id twice: a scaffold
gets ids that are the session's own, each given out once, which tell nothing of who acted.

In: an action's message. Out: the message that goes out; and, for an id that comes back, the recorded one.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from turnmix.core.message import Message


class CallIds:
    """Those of one session."""

    def __init__(self, seed: str) -> None:
        """`seed`: the same one gives the same ids, in the order in which they are given out."""
        self._seed = seed
        self._recorded: dict[str, str] = {}

    def __contains__(self, call_id: str) -> bool:
        """Was it given out here?"""
        return call_id in self._recorded

    def outgoing(self, message: Message, *, turn: int) -> Message:
        """The message of the session's turn `turn` as the scaffold gets it: with ids of its own, and without what only
        whoever acted knows."""
        calls = []
        for index, call in enumerate(message.tool_calls):
            hashed = hashlib.sha256(f"{self._seed}\0{turn}\0{index}".encode()).hexdigest()
            call_id = f"call_{hashed[:24]}"
            self._recorded[call_id] = call.id
            calls.append(replace(call, id=call_id))
        return replace(message, tool_calls=tuple(calls), token_ids=None, provider_fields=None)

    def recorded(self, message: Message) -> Message:
        """A message of the scaffold's with the ids that policies know."""
        calls, answered = message.tool_calls, message.tool_call_id
        if answered is not None and answered in self._recorded:
            message = replace(message, tool_call_id=self._recorded[answered])
        if any(call.id in self._recorded for call in calls):
            known = tuple(replace(call, id=self._recorded.get(call.id, call.id)) for call in calls)
            message = replace(message, tool_calls=known)
        return message
