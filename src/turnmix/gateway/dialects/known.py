"""What was read of a session's last request: the next one repeats its tools and most of its history, which are checked
once.

In: lists of raw messages and of raw tools. Out: how many of the first messages were read before, and what was made of
them; and what was made of the same tools.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from turnmix.gateway.dialects.shape import AnyShape, checked
from turnmix.gateway.dialects.tools import Specifications
from turnmix.gateway.model_request import RequestError

Made = TypeVar("Made")
_MOST_BYTES = 1 << 22
"""Of a list that is kept to be compared: what is longer is read anew each time."""
TOOLS = "tools"
"""Where all dialects have them."""


@dataclass(frozen=True, slots=True)
class Before(Generic[Made]):
    """Messages that were read before."""

    number: int = 0
    parts: tuple[tuple[int, bytes], ...] = ()
    """As the requests added them: how many there were then, and the bytes of the new ones."""
    made: Made | None = None
    """What came of them; None: there are none."""


class Known(Generic[Made]):
    """The messages and the tools of the last request, and what came of them."""

    def __init__(self) -> None:
        self._kept: Before[Made] = Before()
        """As one value: bodies may be read in threads. So too below."""
        self._kept_tools: tuple[bytes, Specifications] = (b"", {})

    def before(self, messages: Any) -> Before[Made]:
        """What a list begins with: all messages of the last one, or nothing."""
        kept = self._kept
        if not isinstance(messages, list) or len(messages) <= kept.number:
            return Before()
        start = 0
        for stop, written in kept.parts:  # not `==`, by which 1 is True
            if _bytes(messages[start:stop]) != written:
                return Before()
            start = stop
        return kept

    def keep(self, messages: list[Any], made: Made, *, before: Before[Made]) -> None:
        """`made` is what these come to, which begin with those `before`. It must not change any more."""
        parts = (*before.parts, (len(messages), _bytes(messages[before.number :])))
        is_kept = sum(len(written) for _, written in parts) <= _MOST_BYTES
        self._kept = Before(len(messages), parts, made) if is_kept else Before()

    def tools(self, tools: Any) -> Specifications | None:
        """What was made of these tools; None: they are not those of the last request."""
        written, made = self._kept_tools
        return made if tools and made and _bytes(tools) == written else None

    def keep_tools(self, tools: Any, made: Specifications) -> None:
        """`made` is what these come to. It must not change any more."""
        written = _bytes(tools)
        self._kept_tools = (written, made) if len(written) <= _MOST_BYTES else (b"", {})


def checked_behind(
    shape: type[AnyShape], body: Mapping[str, Any], name: str, number: int, *, has_known_tools: bool = False
) -> AnyShape:
    """The body as its shape, less the first `number` members of the list `name`, and less its tools if they are known:
    these were checked before.

    Raises:
        RequestError: as of the whole body.
    """
    if not number and not has_known_tools:
        return checked(shape, body)
    new = {key: value for key, value in body.items() if not (has_known_tools and key == TOOLS)}
    if number:
        new[name] = body[name][number:]
    try:
        return checked(shape, new)
    except RequestError:
        checked(shape, body)  # says where in the whole list
        raise


def _bytes(messages: list[Any]) -> bytes:
    return marshal.dumps(messages, 2)  # a version in which equal values are equal bytes
