"""The histories of one session: which of them a request continues.

In: the messages of each request, and the answers that were given. Out: a node for each history, so that what two
requests share is held once, and the longest known history is found in one walk over the request's own messages.

Where one of our own answers comes back, the history holds the recorded message, with its token ids, never the
scaffold's copy; also where a scaffold lost the ids of its calls, or gave them ids of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from turnmix.core.message import Message
from turnmix.gateway.session.ids import CallIds
from turnmix.gateway.session.normal_form import digest, digest_behind

Owner = TypeVar("Owner")


@dataclass(slots=True, eq=False)
class Node(Generic[Owner]):
    """A history: that of its parent and one more message."""

    parent: Node[Owner] | None
    message: Message | None
    """As policies see it; None at the root."""
    sent: Message | None
    """As it stands on the wire."""
    depth: int
    """How many messages it has."""
    place: bytes
    """A digest of its messages as policies see them: histories that differ in ids on the wire alone are one place."""
    answer: Owner | None = None
    """The turn whose action its last message is."""
    copy_of: Owner | None = None
    """The turn whose action its last message is, where that turn was taken in another history."""
    is_continued: bool = False
    """Does the history of a request hold it?"""
    children: dict[bytes, Node[Owner]] = field(default_factory=dict)
    """By the digest of the message that each adds."""
    newest: Node[Owner] | None = None
    """The child that was added last."""

    def add(self, key: bytes, child: Node[Owner]) -> Node[Owner]:
        self.children[key] = self.newest = child
        return child

    def path(self) -> Iterator[Node[Owner]]:
        """Itself, its parent, and so on, the root left out."""
        node: Node[Owner] = self
        while node.parent is not None:
            yield node
            node = node.parent

    @property
    def messages(self) -> tuple[Message, ...]:
        found = [node.message for node in self.path() if node.message is not None]
        return tuple(reversed(found))

    @property
    def sent_messages(self) -> tuple[Message, ...]:
        found = [node.sent for node in self.path() if node.sent is not None]
        return tuple(reversed(found))


@dataclass(slots=True, eq=False)
class _Given(Generic[Owner]):
    """An answer that was given."""

    message: Message
    sent: Message
    owner: Owner


class Graph(Generic[Owner]):
    """All histories of a session."""

    def __init__(self, ids: CallIds) -> None:
        self.root: Node[Owner] = Node(parent=None, message=None, sent=None, depth=0, place=b"")
        self._ids = ids
        self.copied: set[Owner] = set()
        """Whose answers stand in another history than that in which they were given."""
        self._given: dict[bytes | tuple[Node[Owner], bytes], _Given[Owner]] = {}
        """The last answer of each normal form, with and without the ids of its calls; and in each node without."""

    def place(self, messages: Sequence[Message], behind: Node[Owner] | None = None) -> Node[Owner]:
        """The node of a request's history, which goes on from `behind`."""
        node = behind or self.root
        walk = _Walk(self._ids, self._given, self.copied)
        for message in messages:
            node = walk.step(node, message)
        for each in node.path():
            if each.is_continued:
                break
            each.is_continued = True
        return node

    def answered(
        self, node: Node[Owner], message: Message, sent: Message, owner: Owner
    ) -> Node[Owner] | None:
        """Note that `message`, sent as `sent`, was the answer in `node`: where a history goes on from. None: it is the
        same text as an earlier one, from which a history went on already."""
        given = _Given(message=message, sent=sent, owner=owner)
        key = digest(sent)
        if not is_empty(sent):
            loose = digest(sent, with_ids=False)
            self._given[key] = self._given[loose] = self._given[node, loose] = given
        before = node.children.get(key)
        if before is not None and before.is_continued:
            return None
        child = Node(
            parent=node,
            message=message,
            sent=sent,
            depth=node.depth + 1,
            place=digest_behind(node.place, digest(message)),
            answer=owner,
        )
        return node.add(key, child)


def is_empty(message: Message) -> bool:
    return not message.tool_calls and not message.content.strip()


class _Walk(Generic[Owner]):
    """One request's messages, one after the other."""

    def __init__(
        self,
        ids: CallIds,
        given: Mapping[bytes | tuple[Node[Owner], bytes], _Given[Owner]],
        copied: set[Owner],
    ) -> None:
        self._ids = ids
        self._given = given
        self._copied = copied
        self._renamed: dict[str, str] = {}
        """Ids that the scaffold gave calls of ours, and ours."""
        self._unanswered: list[str] = []
        """Of the last assistant message: ids of calls that no message has answered yet."""

    def step(self, node: Node[Owner], message: Message) -> Node[Owner]:
        """The node one message on, made where it is new."""
        if message.role == "tool":
            message = self._answering(message)
        # What goes on from the last request is most of every history: one look tells that it is known.
        newest = node.newest
        if newest is not None and (newest.sent is message or newest.sent == message):
            if message.role == "assistant":
                self._unanswered = [call.id for call in message.tool_calls]
            return newest
        key = digest(message)
        child = node.children.get(key)
        if message.role != "assistant":
            return child or self._added(node, key, message)
        given = None
        if child is None and not is_empty(message):
            given = self._own(node, message, key)
            if given is not None:
                for call, sent in zip(message.tool_calls, given.sent.tool_calls, strict=True):
                    if call.id:
                        self._renamed[call.id] = sent.id
                message = given.sent
                key = digest(message)
                child = node.children.get(key)
        self._unanswered = [call.id for call in message.tool_calls]
        return child or self._added(node, key, message, given)

    def _own(self, node: Node[Owner], message: Message, key: bytes) -> _Given[Owner] | None:
        """The answer of ours that a message of the scaffold's is."""
        if not message.tool_calls or any(call.id in self._ids for call in message.tool_calls):
            return self._given.get(key)
        loose = digest(message, with_ids=False)
        return self._given.get((node, loose)) or self._given.get(loose)

    def _answering(self, message: Message) -> Message:
        """A tool's message with the id of the call that it answers: a scaffold may have lost it."""
        answered = message.tool_call_id or ""
        answered = self._renamed.get(answered, answered)
        if answered not in self._unanswered and answered not in self._ids and self._unanswered:
            answered = self._unanswered[0]
        if answered in self._unanswered:
            self._unanswered.remove(answered)
        return (
            message if answered == (message.tool_call_id or "") else replace(message, tool_call_id=answered)
        )

    def _added(
        self, node: Node[Owner], key: bytes, message: Message, given: _Given[Owner] | None = None
    ) -> Node[Owner]:
        seen = given.message if given is not None else self._ids.recorded(message)
        if given is not None:
            self._copied.add(given.owner)
        child: Node[Owner] = Node(
            parent=node,
            message=seen,
            sent=message,
            depth=node.depth + 1,
            place=digest_behind(node.place, key if seen is message else digest(seen)),
            copy_of=None if given is None else given.owner,
        )
        return node.add(key, child)
