"""What is not taught: targets that a student must not learn, or cannot say, each with its reason.

A target is malformed whoever would learn it; it is unwritable where the student's own tokens do not say it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from turnmix.core.trajectory import Action

MalformedReason = Literal[
    "call_could_not_be_read",
    "empty_answer",
    "unknown_tool",
    "unknown_argument",
    "missing_argument",
    "argument_of_another_type",
    "call_markup_in_text",
    "thinking_in_text",
]
UnwritableReason = Literal[
    "stop_token_inside", "template_refuses", "reads_back_as_malformed", "reads_back_otherwise"
]
Reason = MalformedReason | UnwritableReason

MALFORMED: tuple[str, ...] = get_args(MalformedReason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why a target is not taught."""

    reason: Reason
    detail: str
    """What is wrong with this one, in words."""

    @property
    def is_malformed(self) -> bool:
        return self.reason in MALFORMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Untaught:
    """A target that is not taught, and where it stood."""

    objection: Objection
    target: Action
    trajectory_id: str
    turn: int
    """Counted from 0."""


def count_reasons(untaught: Iterable[Untaught]) -> dict[str, int]:
    """How many were left out, by reason, the commonest first."""
    return dict(Counter(each.objection.reason for each in untaught).most_common())
