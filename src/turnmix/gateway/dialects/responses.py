"""OpenAI's Responses. In: the body of a request, or an answer. Out: a `ModelRequest`, or a body and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from turnmix.core.answer_form import AnswerForm
from turnmix.core.message import Message
from turnmix.gateway.dialects.known import TOOLS, Known, checked_behind
from turnmix.gateway.dialects.openai_errors import error_object, error_reply
from turnmix.gateway.dialects.responses_history import ReadItems, read_items
from turnmix.gateway.dialects.responses_output import response_body, response_events
from turnmix.gateway.dialects.responses_request import (
    LOGPROBS,
    PARAMETERS,
    AllowedToolsChoice,
    ResponsesBody,
    SchemaFormat,
)
from turnmix.gateway.dialects.server_sent import COMMENT, event
from turnmix.gateway.dialects.tools import Choice, offered, specified
from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError

_ID = "resp_"


class Responses:
    """`POST /responses`."""

    path = "/responses"

    def read(
        self, body: Mapping[str, Any], known: Known[ReadItems] | None = None
    ) -> tuple[ModelRequest, bool]:
        PARAMETERS.refuse(body)
        known = Known() if known is None else known
        before = known.before(body.get("input"))
        tools = known.tools(body.get(TOOLS))
        asked = checked_behind(ResponsesBody, body, "input", before.number, has_known_tools=tools is not None)
        if not asked.input and asked.previous_response_id is None:
            raise RequestError("invalid_request", "input: missing: give a text or items", parameter="input")
        items = read_items(asked.input, before.made)
        if isinstance(body.get("input"), list):
            known.keep(body["input"], items, before=before)
        system = [Message(role="system", content=asked.instructions)] if asked.instructions else []
        if tools is None:
            tools = specified(asked.tools or ())
            known.keep_tools(body.get(TOOLS), tools)
        on_offer, tool_choice = offered(tools, _choice(asked))
        request = ModelRequest(
            model=asked.model,
            messages=(*system, *items.history.messages),
            tools=on_offer,
            form=AnswerForm(
                tool_choice=tool_choice,
                parallel_tool_calls=False if asked.parallel_tool_calls is False else None,
                response_format=_response_format(asked),
                others=PARAMETERS.others(asked),
            ),
            sampling=PARAMETERS.sampling(asked),
            wants_logprobs=LOGPROBS in (asked.include or ()),
            previous=None
            if asked.previous_response_id is None
            else asked.previous_response_id.removeprefix(_ID),
        )
        return request, bool(asked.stream)

    def write(self, answer: ModelAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        return response_body(answer, body)

    def events(self, answer: ModelAnswer, body: Mapping[str, Any]) -> Iterator[bytes]:
        for number, data in enumerate(response_events(answer, body)):
            yield event({**data, "sequence_number": number}, data["type"])

    def heartbeat(self) -> bytes:
        return COMMENT

    def error(self, error: RequestError) -> tuple[int, dict[str, Any], dict[str, str]]:
        return error_reply(error)

    def error_event(self, error: RequestError) -> bytes:
        told = error_object(error)
        flat = {name: told[name] for name in ("code", "message", "param")}
        return event({"type": "error", **flat, "error": told, "sequence_number": 0}, "error")


def _choice(asked: ResponsesBody) -> Choice:
    choice = asked.tool_choice
    if choice is None:
        return Choice()
    if isinstance(choice, str):
        return Choice(mode=choice)
    if isinstance(choice, AllowedToolsChoice):
        return Choice(mode=choice.mode, allowed=[tool.name for tool in choice.tools])
    return Choice(mode="required", name=choice.name)


def _response_format(asked: ResponsesBody) -> dict[str, Any] | None:
    wanted = asked.text.format if asked.text is not None else None
    if isinstance(wanted, SchemaFormat):
        told: dict[str, Any] = {"name": wanted.name, "schema": wanted.schema_}
        if wanted.description is not None:
            told["description"] = wanted.description
        if wanted.strict is not None:
            told["strict"] = wanted.strict
        return {"type": "json_schema", "json_schema": told}
    return None if wanted is None or wanted.type == "text" else {"type": "json_object"}
