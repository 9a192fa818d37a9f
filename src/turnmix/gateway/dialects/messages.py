"""Anthropic's messages. In: the body of a request, or an answer. Out: a `ModelRequest`, or a body and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from turnmix.core.answer_form import AnswerForm
from turnmix.core.json_text import json_text
from turnmix.core.message import Message
from turnmix.gateway.dialects.dialect import STATUSES, error_headers
from turnmix.gateway.dialects.history import History, SentCall
from turnmix.gateway.dialects.known import TOOLS, Known, checked_behind
from turnmix.gateway.dialects.messages_request import (
    PARAMETERS,
    AssistantMessage,
    MessagesBody,
    NamedChoice,
    SystemMessage,
    TextBlock,
    ToolUse,
    UserMessage,
)
from turnmix.gateway.dialects.parameters import stop_texts
from turnmix.gateway.dialects.server_sent import event, pieces
from turnmix.gateway.dialects.tools import Choice, Function, offered, specified
from turnmix.gateway.model_request import Fault, Finish, ModelAnswer, ModelRequest, RequestError

_STOP_REASONS: Mapping[Finish, str] = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
_ERROR_TYPES: Mapping[Fault, str] = {
    "unauthorized": "authentication_error",
    "forbidden": "permission_error",
    "not_found": "not_found_error",
    "too_large": "request_too_large",
    "unavailable": "overloaded_error",
    "internal": "api_error",
}


class Messages:
    """`POST /messages`."""

    path = "/messages"

    def read(self, body: Mapping[str, Any], known: Known[History] | None = None) -> tuple[ModelRequest, bool]:
        PARAMETERS.refuse(body)
        known = Known() if known is None else known
        before = known.before(body.get("messages"))
        tools = known.tools(body.get(TOOLS))
        asked = checked_behind(
            MessagesBody, body, "messages", before.number, has_known_tools=tools is not None
        )
        history = History(before.made)
        for message in asked.messages:
            if isinstance(message, AssistantMessage):
                _add_answer(history, message)
            elif isinstance(message, SystemMessage):
                history.say("system", message.content)
            else:
                _add_results_and_texts(history, message)
        if isinstance(asked.messages[-1], AssistantMessage):
            where = f"messages[{len(body['messages']) - 1}].role"
            fix = "the gateway does not go on with an answer that was begun: end with a user message"
            raise RequestError("invalid_request", f"{where}: 'assistant': {fix}", parameter=where)
        known.keep(body["messages"], history, before=before)
        system = [Message(role="system", content=asked.system)] if asked.system else []
        if tools is None:
            functions = [
                Function(name=tool.name, description=tool.description, parameters=tool.input_schema)
                for tool in asked.tools or ()
            ]
            tools = specified(functions, schema="input_schema")
            known.keep_tools(body.get(TOOLS), tools)
        on_offer, tool_choice = offered(tools, _choice(asked))
        is_alone = asked.tool_choice is not None and asked.tool_choice.disable_parallel_tool_use
        request = ModelRequest(
            model=asked.model,
            messages=(*system, *history.messages),
            tools=on_offer,
            form=AnswerForm(
                tool_choice=tool_choice,
                parallel_tool_calls=False if is_alone else None,
                response_format=_response_format(asked),
                stop=stop_texts(asked.stop_sequences, name="stop_sequences"),
                others=PARAMETERS.others(asked),
            ),
            sampling=PARAMETERS.sampling(asked),
        )
        return request, bool(asked.stream)

    def write(self, answer: ModelAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        message = answer.message
        content: list[dict[str, Any]] = []
        if message.content or not message.tool_calls:
            content.append({"type": "text", "text": message.content, "citations": None})
        for call in message.tool_calls:
            content.append(
                {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}
            )
        stop_text = answer.stop_text if answer.finish == "stop" else None
        return {
            "id": f"msg_{answer.id}",
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": content,
            "stop_reason": _STOP_REASONS[answer.finish] if stop_text is None else "stop_sequence",
            "stop_sequence": stop_text,
            "usage": _usage(answer),
        }

    def events(self, answer: ModelAnswer, body: Mapping[str, Any]) -> Iterator[bytes]:
        written = self.write(answer, body)
        begun = {**written["usage"], "output_tokens": 0}
        opened = {**written, "content": [], "stop_reason": None, "stop_sequence": None, "usage": begun}
        yield _event("message_start", message=opened)
        for index, block in enumerate(written["content"]):
            is_text = block["type"] == "text"
            emptied: dict[str, Any] = {"text": ""} if is_text else {"input": {}}
            kind, field = ("text_delta", "text") if is_text else ("input_json_delta", "partial_json")
            yield _event("content_block_start", index=index, content_block={**block, **emptied})
            for piece in pieces(block["text"] if is_text else json_text(block["input"], ensure_ascii=False)):
                yield _event("content_block_delta", index=index, delta={"type": kind, field: piece})
            yield _event("content_block_stop", index=index)
        delta = {name: written[name] for name in ("stop_reason", "stop_sequence")}
        yield _event("message_delta", delta=delta, usage=written["usage"])
        yield _event("message_stop")

    def heartbeat(self) -> bytes:
        return _event("ping")

    def error(self, error: RequestError) -> tuple[int, dict[str, Any], dict[str, str]]:
        return STATUSES[error.fault], _error_body(error), error_headers(error)

    def error_event(self, error: RequestError) -> bytes:
        return event(_error_body(error), "error")


def _event(name: str, **data: Any) -> bytes:
    return event({"type": name, **data}, name)


def _error_body(error: RequestError) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(error.fault, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": str(error)}, "request_id": None}


def _add_answer(history: History, message: AssistantMessage) -> None:
    texts = [block.text for block in message.content if isinstance(block, TextBlock) and block.text]
    calls = [
        SentCall(block.id, block.name, block.input) for block in message.content if isinstance(block, ToolUse)
    ]
    history.answer("\n".join(texts), calls)


def _add_results_and_texts(history: History, message: UserMessage) -> None:
    """Each result, and each text that stands between results, as a message."""
    texts: list[str] = []
    for block in message.content:
        if isinstance(block, TextBlock):
            texts.append(block.text)
            continue
        if texts:
            history.say("user", "\n".join(filter(None, texts)))
            texts = []
        history.result(block.tool_use_id, block.content or ("Error" if block.is_error else ""))
    if texts or not message.content:
        history.say("user", "\n".join(filter(None, texts)))


def _choice(asked: MessagesBody) -> Choice:
    choice = asked.tool_choice
    if choice is None:
        return Choice()
    if isinstance(choice, NamedChoice):
        return Choice(mode="required", name=choice.name)
    return Choice(mode="required" if choice.type == "any" else choice.type)


def _response_format(asked: MessagesBody) -> dict[str, Any] | None:
    wanted = asked.output_config.format if asked.output_config is not None else None
    wanted = wanted or asked.output_format
    if wanted is None:
        return None
    schema = {"name": "answer", "schema": wanted.schema_, "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _usage(answer: ModelAnswer) -> dict[str, Any]:
    return {
        "input_tokens": answer.prompt_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": answer.completion_tokens,
    }
