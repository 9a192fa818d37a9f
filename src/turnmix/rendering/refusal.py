"""A model that cannot act here is refused: by name, with the reason, and with a remedy, tried where it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from turnmix.core.errors import UserError

ToolCalls = Literal["native", "text"]
_OTHER_WAY: dict[ToolCalls, str] = {
    "native": "set scaffold.tool_calls=native: so it passes every check",
    "text": "set scaffold.tool_calls=text: so it passes every check (what acts or labels as teacher is then an "
    "endpoint or a model, not the oracle)",
}


class RefusedModelError(UserError):
    """What is wrong with a model, and what to do about it."""

    def __init__(self, who: str, complaint: str, remedy: str) -> None:
        """`who`: the recipe's field and the model's name."""
        super().__init__(f"{who} {complaint}; {remedy}")
        self._who = who
        self._complaint = complaint

    def with_remedy(self, remedy: str) -> RefusedModelError:
        return RefusedModelError(self._who, self._complaint, remedy)


Refusal = Callable[[str, str], RefusedModelError]
"""A complaint and a remedy in, the error that names the model out."""


@contextmanager
def with_working_remedy(passes: Callable[[ToolCalls], bool], *, tool_calls: ToolCalls) -> Iterator[None]:
    """Inside, a refusal names the other way of calling tools as its remedy, if the model passes with it."""
    try:
        yield
    except RefusedModelError as error:
        other: ToolCalls = "text" if tool_calls == "native" else "native"
        if not passes(other):
            raise
        raise error.with_remedy(_OTHER_WAY[other]) from error.__cause__
