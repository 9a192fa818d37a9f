"""What one endpoint wants otherwise than most: found out by its first refusal, and kept for all later requests.

In: the JSON of a request, and the words of a refusal. Out: the request as this endpoint takes it. A habit is learned
only where its words fit and where it changes the request that was refused, so a wrong guess costs one request.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]

FILLER = "(empty)"
"""In the place of a text that may not be empty."""
SIGNATURE_FILLER = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""Google's own word for a call whose signature is not there, because another model made the call."""

_NOT_TAKEN = (
    r"(unsupported|not.support|unknown|unrecogni[sz]ed|extra.?(inputs?|forbidden|fields?)|not.permitted|not.allowed"
    r"|deprecated|only the default|only 1 |cannot find field|unexpected|not accepted|property)"
)
_EMPTY_REFUSED = re.compile(
    r"either.{0,20}content|non-?empty|not be (empty|blank)|(is|are|be|was) (empty|blank)|cannot be (empty|blank)"
    r"|(empty|blank) (content|text|message|assistant)|content.{0,20}(required|missing)|not.specified|at least one",
    re.IGNORECASE,
)
_REASONING_WANTED = re.compile(
    r"(missing|requires?|must|needs?|lacks?|without|expect).{0,80}reasoning_content"
    r"|reasoning_content.{0,80}(missing|required|must|need|not present|not provided|passed back)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """One thing that an endpoint may want."""

    words: re.Pattern[str]
    """In a refusal that asks for it."""
    apply: Callable[[Body], None]
    """Changes a request of its own."""
    note: str
    """What a person is told."""
    parameter: str | None = None
    """The field of the request that it changes; what the user sets in `extra_body` is left alone."""


def _not_taken(name: str) -> re.Pattern[str]:
    return re.compile(rf"{_NOT_TAKEN}.{{0,60}}\b{name}\b|\b{name}\b.{{0,80}}{_NOT_TAKEN}", re.I | re.DOTALL)


def _dropping(name: str) -> Habit:
    return Habit(
        words=_not_taken(name),
        apply=lambda body: body.pop(name, None),
        note=f"{name} is refused there, and left out",
        parameter=name,
    )


def _rename_limit(body: Body) -> None:
    if "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")


def _sign_calls(body: Body) -> None:
    for message in _assistants(body):
        calls = message.get("tool_calls", ())
        # A provider signs the first of several calls alone.
        if not any("thought_signature" in str(call.get("extra_content")) for call in calls):
            for call in calls:
                call["extra_content"] = SIGNATURE_FILLER


def _fill_reasoning(body: Body) -> None:
    for message in _assistants(body):
        message.setdefault("reasoning_content", "")


def _fill_empty_reasoning(body: Body) -> None:
    for message in _assistants(body):
        message["reasoning_content"] = message.get("reasoning_content") or " "


def _name_tools(body: Body) -> None:
    names = {
        call["id"]: call["function"]["name"]
        for message in _assistants(body)
        for call in message.get("tool_calls", ())
    }
    for message in body["messages"]:
        if message["role"] == "tool" and message.get("tool_call_id") in names:
            message.setdefault("name", names[message["tool_call_id"]])


def _fill_texts(body: Body) -> None:
    for message in body["messages"]:
        if not message.get("content") and not message.get("tool_calls"):
            message["content"] = FILLER


def _fill_all_texts(body: Body) -> None:
    for message in body["messages"]:
        message["content"] = message.get("content") or FILLER


def _null_to_empty(body: Body) -> None:
    for message in body["messages"]:
        if message.get("content") is None:
            message["content"] = ""


def _assistants(body: Body) -> list[Body]:
    return [message for message in body.get("messages", ()) if message["role"] == "assistant"]


_ONE_OF_TWO = re.compile(
    r"temperature.{0,40}top_p.{0,60}(both|only one|just one)|(both|only one of|one of).{0,40}(temperature|top_p)",
    re.IGNORECASE | re.DOTALL,
)

HABITS: dict[str, Habit] = {
    "max_completion_tokens": Habit(
        words=re.compile(rf"max_completion_tokens|{_not_taken('max_tokens').pattern}", re.I | re.DOTALL),
        apply=_rename_limit,
        note="max_tokens is refused there; max_completion_tokens is sent in its place",
        parameter="max_tokens",
    ),
    "one_of_two": Habit(
        words=_ONE_OF_TWO,
        apply=lambda body: body.pop("top_p", None),
        note="temperature and top_p are refused together there; top_p is left out",
        parameter="top_p",
    ),
    **{name: _dropping(name) for name in ("temperature", "top_p", "seed", "stop", "parallel_tool_calls")},
    "thought_signature": Habit(
        words=re.compile(r"thought.?signature", re.IGNORECASE),
        apply=_sign_calls,
        note="it wants a signature with each call; calls of others get Google's word for one left out",
    ),
    "reasoning_content": Habit(
        words=_REASONING_WANTED,
        apply=_fill_reasoning,
        note="it wants reasoning_content with each turn; turns of others get an empty one",
    ),
    "filled_reasoning_content": Habit(
        words=_REASONING_WANTED,
        apply=_fill_empty_reasoning,
        note="it wants reasoning_content that is not empty; turns of others get a space",
    ),
    "tool_name": Habit(
        words=re.compile(r"\bname\b.{0,40}(empty|blank|required|missing)|missing.{0,40}\bname\b", re.I),
        apply=_name_tools,
        note="it wants the tool's name with each result",
    ),
    "filled_texts": Habit(
        words=_EMPTY_REFUSED, apply=_fill_texts, note=f"it takes no empty text; {FILLER} is sent in its place"
    ),
    "content_as_string": Habit(
        words=re.compile(r"content.{0,80}(null|none|string|missing|required)|(null|none).{0,60}content", re.I | re.S),
        apply=_null_to_empty,
        note="it takes no null content; an empty text is sent in its place",
    ),
    "filled_content": Habit(
        words=_EMPTY_REFUSED,
        apply=_fill_all_texts,
        note=f"it takes no calls without a text; {FILLER} is sent with them",
    ),
}  # fmt: skip


class Dialect:
    """What is known of one endpoint. Whoever asks it may share one."""

    def __init__(
        self, *, kept: frozenset[str] = frozenset(), say: Callable[[str], None] = lambda note: None
    ) -> None:
        """`kept`: fields of a request that the user set, and that no habit changes. `say` is told each habit once."""
        self.has_answered = False
        """Was anything answered, to whoever asked?"""
        self.say = say
        self._kept = kept
        self._habits: list[str] = []
        self._unreturned: set[str] = set()
        """Fields of the endpoint's own turns that it gives and does not take back."""

    def applied(self, body: Any) -> Body:
        """The request as this endpoint takes it."""
        if not self._habits and not self._unreturned:
            return dict(body)
        changed = copy.deepcopy(dict(body))
        for name in self._habits:
            HABITS[name].apply(changed)
        for message in _assistants(changed):
            for field in self._unreturned:
                message.pop(field, None)
        return changed

    def learns(self, refusal: str, sent: Body, body: Any) -> bool:
        """Is the request another one now than the refused one that was `sent`? `body`: without any habit."""
        if self.applied(body) != sent:
            return True  # learned meanwhile, from another conversation
        for name, habit in HABITS.items():
            if name in self._habits or habit.parameter in self._kept or not habit.words.search(refusal):
                continue
            self._habits.append(name)
            if self.applied(body) != sent:
                self.say(habit.note)
                return True
            self._habits.remove(name)
        return self._stops_returning(refusal, sent)

    def _stops_returning(self, refusal: str, sent: Body) -> bool:
        own = {"role", "content", "tool_calls", "tool_call_id"}
        returned = {field for message in _assistants(sent) for field in message.keys() - own}
        refused = {field for field in returned if _not_taken(re.escape(field)).search(refusal)}
        self._unreturned |= refused
        for field in sorted(refused):
            self.say(f"it gives {field} and does not take it back; it is left out")
        return bool(refused)
