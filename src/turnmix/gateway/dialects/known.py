"""What was read of a session's last request: the history of the next one repeats most of it, and is checked once.

In: lists of raw messages. Out: how many of a list's first messages were read before, and what was made of them.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from turnmix.gateway.dialects.shape import AnyShape, checked
from turnmix.gateway.model_request import RequestError

Made = TypeVar("Made")
_MOST_BYTES = 1 << 22
"""Of a list that is kept to be compared: what is longer is read anew each time."""


class Known(Generic[Made]):
    """The messages of the last request, and what came of them."""

    def __init__(self) -> None:
        self._kept: tuple[int, bytes, Made | None] = (0, b"", None)
        """As one value: bodies may be read in threads."""

    def shared(self, messages: Any) -> tuple[int, Made | None]:
        """How many messages a list and the last one have in common, all of the last one's or none; and what was made
        of those."""
        number, written, made = self._kept
        if not number or not isinstance(messages, list) or len(messages) <= number:
            return 0, None
        # Not `==`, by which 1 is True.
        return (number, made) if _bytes(messages[:number]) == written else (0, None)

    def keep(self, messages: list[Any], made: Made) -> None:
        """`made` is what these come to. It must not change any more."""
        written = _bytes(messages)
        is_kept = len(written) <= _MOST_BYTES
        self._kept = (len(messages), written, made) if is_kept else (0, b"", None)


def checked_behind(shape: type[AnyShape], body: Mapping[str, Any], name: str, number: int) -> AnyShape:
    """The body as its shape, less the first `number` members of the list `name`, which were checked before.

    Raises:
        RequestError: as of the whole body.
    """
    if not number:
        return checked(shape, body)
    try:
        return checked(shape, {**body, name: body[name][number:]})
    except RequestError:
        checked(shape, body)  # says where in the whole list
        raise


def _bytes(messages: list[Any]) -> bytes:
    return marshal.dumps(messages, 2)  # a version in which equal values are equal bytes
