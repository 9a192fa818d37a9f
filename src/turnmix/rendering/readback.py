"""Can the student say it? A target is read back from its tokens, by the student's own parser.

In: a state, the action to be taught in it, and the tokens as which it would be. Out: what is wrong with them. Only
the whole chain tells: the template, the tokenizer, the tool-call format and the types of the tools' schemas.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Literal, Protocol, runtime_checkable

from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.message import Message, ToolSpecification, is_blank
from turnmix.core.trajectory import Action, State
from turnmix.core.untaught import Objection
from turnmix.rendering.arguments import without_surrogates
from turnmix.rendering.formats import HermesFormat
from turnmix.rendering.malformed import malformed

_WRITTEN_CALLS = HermesFormat()
_SHOWN = 300


class WritesTurns(Protocol):
    """A renderer, as far as targets go."""

    def target_ids(self, state: State, action: Action) -> list[int]: ...


@runtime_checkable
class ReadsTurns(Protocol):
    """A renderer that reads the tokens which it writes."""

    @property
    def tool_calls(self) -> Literal["native", "text"]: ...

    @property
    def stop_ids(self) -> frozenset[int]: ...

    def parse(self, token_ids: list[int], tools: tuple[ToolSpecification, ...]) -> Action: ...


def written_target(
    renderer: WritesTurns, state: State, action: Action, *, is_well_formed: bool = False
) -> list[int] | Objection:
    """The tokens of an action as a target, or why they are not taught. What the student sampled is taught as it is, and
    a renderer that cannot read is believed. `is_well_formed`: see `Transition`."""
    if action.token_ids is not None or not isinstance(renderer, ReadsTurns):
        return renderer.target_ids(state, action)
    try:
        ids = renderer.target_ids(state, action)
    except (UserError, ValueError, TypeError) as error:
        said = _spelled(action.message)
        is_text = without_surrogates(said) == said
        detail = str(error) if is_text else "half of a surrogate pair is no text to a tokenizer"
        return Objection(reason="template_refuses", detail=detail)
    return (
        _malformed(renderer, state, action, is_well_formed)
        or _stop_token_inside(ids, renderer.stop_ids)
        or _read_otherwise(renderer, state, action, ids)
        or ids
    )


def _malformed(renderer: ReadsTurns, state: State, action: Action, is_well_formed: bool) -> Objection | None:
    if is_well_formed:
        return None
    if renderer.tool_calls == "native" or action.parse_error is not None:
        return malformed(action, state.tools)
    if is_blank(action.message.content):
        return Objection(reason="empty_answer", detail="there is no text")
    written = _WRITTEN_CALLS.parse(action.message.content, ())
    if written.error is not None:
        return Objection(reason="call_could_not_be_read", detail=written.error)
    return None


def _stop_token_inside(target_ids: list[int], stop_ids: Set[int]) -> Objection | None:
    inside = next((index for index, token in enumerate(target_ids[:-1]) if token in stop_ids), None)
    if inside is None:
        return None
    detail = f"token {inside} of {len(target_ids)} is {target_ids[inside]}, which ends a turn"
    return Objection(reason="stop_token_inside", detail=detail)


def _read_otherwise(
    renderer: ReadsTurns, state: State, action: Action, target_ids: list[int]
) -> Objection | None:
    read = renderer.parse(target_ids, state.tools)
    if read.parse_error is not None:
        return Objection(reason="reads_back_as_malformed", detail=read.parse_error)
    wanted, found = _spelled(action.message), _spelled(read.message)
    if wanted == found:
        return None
    start = next(
        (index for index, pair in enumerate(zip(wanted, found, strict=False)) if len(set(pair)) > 1),
        min(len(wanted), len(found)),
    )
    start = max(0, start - _SHOWN // 3)
    detail = f"…{wanted[start : start + _SHOWN]} reads back as …{found[start : start + _SHOWN]}"
    return Objection(reason="reads_back_otherwise", detail=detail)


def _spelled(message: Message) -> str:
    """A message as a text that differs where anything in it does, types of values included."""
    calls = [[call.name, dict(call.arguments)] for call in message.tool_calls]
    return json_text([message.content, calls], ensure_ascii=False, sort_keys=True)
