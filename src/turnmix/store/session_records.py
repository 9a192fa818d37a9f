"""What the lines of a gateway session's journal hold, behind its first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from turnmix.store.records import Count, Figure, Record, Usages
from turnmix.store.trajectory_records import ActionRecord, FormRecord, MessageRecord, ToolRecord


class _Numbered(Record):
    number: Count
    """Of the turn, in the order of requests."""


class _AskedEvent(_Numbered):
    behind: Count
    messages: list[MessageRecord]
    offered: str
    tools: list[ToolRecord] | None
    form: FormRecord
    wishes: str


class _AnsweredEvent(_Numbered):
    actor: Literal["student", "teacher"]
    action: ActionRecord
    label: Literal["executed"] | ActionRecord | None
    is_label_asked: bool
    seconds: Figure
    answer_id: str
    created: Count
    finish: Literal["stop", "tool_calls", "length"]
    prompt_tokens: Count
    completion_tokens: Count
    usage: Usages


class _LabelEvent(_Numbered):
    action: ActionRecord
    seconds: Figure


SESSION_EVENTS: Mapping[str, type[Record]] = {
    "asked": _AskedEvent,
    "answered": _AnsweredEvent,
    "failed": _Numbered,
    "repeated": _Numbered,
    "label": _LabelEvent,
    "closed": Record,
}
