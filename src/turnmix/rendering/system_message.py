"""A conversation for a template that knows no system message of its own."""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.message import Message


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The messages, the system's at the head of the first user's."""
    said = [message.content for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    first = next((index for index, message in enumerate(others) if message.role == "user"), None)
    if not said:
        return others
    if first is None:
        return [Message(role="user", content="\n\n".join(said)), *others]
    joined = Message(role="user", content="\n\n".join([*said, others[first].content]))
    return [*others[:first], joined, *others[first + 1 :]]
