"""OpenAI's chat completions. In: the body of a request, or an answer. Out: a `ModelRequest`, or a body and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turnmix.core.answer_form import AnswerForm
from turnmix.core.message import ToolCall
from turnmix.gateway.dialects.chat_request import (
    PARAMETERS,
    AllowedToolsChoice,
    AssistantMessage,
    ChatBody,
    CustomChoice,
    FunctionCall,
    FunctionChoice,
    FunctionMessage,
    FunctionTool,
    Named,
    SchemaFormat,
    SentFunctionCall,
    SentToolCall,
    TextFormat,
    ToolMessage,
)
from turnmix.gateway.dialects.history import History, SentCall
from turnmix.gateway.dialects.known import TOOLS, Known, checked_behind
from turnmix.gateway.dialects.openai_errors import error_object, error_reply
from turnmix.gateway.dialects.parameters import stop_texts
from turnmix.gateway.dialects.server_sent import COMMENT, event, pieces, token_pieces
from turnmix.gateway.dialects.tools import INPUT, Choice, arguments_text, input_text, offered, specified
from turnmix.gateway.model_request import AnswerToken, ModelAnswer, ModelRequest, RequestError


class ChatCompletions:
    """`POST /chat/completions`."""

    path = "/chat/completions"

    def read(self, body: Mapping[str, Any], known: Known[History] | None = None) -> tuple[ModelRequest, bool]:
        PARAMETERS.refuse(body)
        known = Known() if known is None else known
        before = known.before(body.get("messages"))
        tools = None if body.get("functions") else known.tools(body.get(TOOLS))
        asked = checked_behind(ChatBody, body, "messages", before.number, has_known_tools=tools is not None)
        history = History(before.made)
        for message in asked.messages:
            if isinstance(message, AssistantMessage):
                history.answer(message.content or message.refusal or "", _sent_calls(message))
            elif isinstance(message, ToolMessage):
                history.result(message.tool_call_id, message.content)
            elif isinstance(message, FunctionMessage):
                history.result("", message.content)
            else:
                history.say("user" if message.role == "user" else "system", message.content)
        known.keep(body["messages"], history, before=before)
        if tools is None:
            given = [
                tool.function if isinstance(tool, FunctionTool) else tool.custom for tool in asked.tools or ()
            ]
            tools = specified([*given, *(asked.functions or ())], inside="function.")
            if not asked.functions:
                known.keep_tools(body.get(TOOLS), tools)
        on_offer, tool_choice = offered(tools, _choice(asked))
        request = ModelRequest(
            model=asked.model,
            messages=tuple(history.messages),
            tools=on_offer,
            form=AnswerForm(
                tool_choice=tool_choice,
                parallel_tool_calls=_parallel(asked),
                response_format=_response_format(asked),
                stop=stop_texts(asked.stop, name="stop"),
                others=PARAMETERS.others(asked),
            ),
            sampling=PARAMETERS.sampling(asked),
            wants_logprobs=bool(asked.logprobs),
        )
        return request, bool(asked.stream)

    def write(self, answer: ModelAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        message = answer.message
        calls = _written_calls(answer, body)
        data: dict[str, Any] = {
            "role": "assistant",
            "content": message.content if message.content or not calls else None,
            "refusal": None,
        }
        if is_legacy := bool(calls and body.get("functions")):
            data["function_call"] = calls[0]["function"]
        if calls and not (is_legacy and len(calls) == 1):
            data["tool_calls"] = calls
        return {
            "id": f"chatcmpl-{answer.id}",
            "object": "chat.completion",
            "created": answer.created,
            "model": answer.model,
            "choices": [
                {
                    "index": 0,
                    "message": data,
                    "logprobs": None if answer.tokens is None else _logprobs(answer.tokens),
                    "finish_reason": _finish_reason(answer, is_legacy=is_legacy),
                }
            ],
            "usage": _usage(answer),
        }

    def events(self, answer: ModelAnswer, body: Mapping[str, Any]) -> Iterator[bytes]:
        written = self.write(answer, body)
        message = written["choices"][0]["message"]
        head = {name: written[name] for name in ("id", "created", "model")}
        head["object"] = "chat.completion.chunk"
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        if with_usage:
            head["usage"] = None

        def chunk(
            delta: dict[str, Any], tokens: Sequence[AnswerToken] = (), finish_reason: str | None = None
        ) -> bytes:
            choice = {
                "index": 0,
                "delta": delta,
                "logprobs": _logprobs(tokens) if tokens else None,
                "finish_reason": finish_reason,
            }
            return event({**head, "choices": [choice]})

        yield chunk({"role": "assistant", "content": None if message["content"] is None else ""})
        for piece, tokens in token_pieces(answer.message.content, answer.tokens):
            yield chunk({"content": piece} if piece else {}, tokens)
        if "function_call" in message:
            call = message["function_call"]
            yield chunk({"function_call": {"name": call["name"], "arguments": ""}})
            for piece in pieces(call["arguments"]):
                yield chunk({"function_call": {"arguments": piece}})
        for index, call in enumerate(message.get("tool_calls", ())):
            kind = call["type"]
            field = "arguments" if kind == "function" else "input"
            opened = {**call, "index": index, kind: {**call[kind], field: ""}}
            yield chunk({"tool_calls": [opened]})
            for piece in pieces(call[kind][field]):
                yield chunk({"tool_calls": [{"index": index, kind: {field: piece}}]})
        yield chunk({}, finish_reason=written["choices"][0]["finish_reason"])
        if with_usage:
            yield event({**head, "choices": [], "usage": written["usage"]})
        yield b"data: [DONE]\n\n"

    def heartbeat(self) -> bytes:
        return COMMENT

    def error(self, error: RequestError) -> tuple[int, dict[str, Any], dict[str, str]]:
        return error_reply(error)

    def error_event(self, error: RequestError) -> bytes:
        return event({"error": error_object(error)})


def _sent_calls(message: AssistantMessage) -> list[SentCall]:
    if not message.tool_calls and isinstance(message.function_call, FunctionCall):
        return [SentCall("", message.function_call.name, message.function_call.arguments)]
    return [_sent_call(call) for call in message.tool_calls or ()]


def _sent_call(call: SentToolCall) -> SentCall:
    if isinstance(call, SentFunctionCall):
        return SentCall(call.id, call.function.name, call.function.arguments)
    return SentCall(call.id, call.custom.name, {INPUT: call.custom.input})


def _choice(asked: ChatBody) -> Choice:
    choice = asked.tool_choice if asked.tool_choice is not None else asked.function_call
    if choice is None:
        return Choice()
    if isinstance(choice, str):
        return Choice(mode=choice)
    if isinstance(choice, AllowedToolsChoice):
        allowed = choice.allowed_tools
        return Choice(mode=allowed.mode, allowed=[_name(tool) for tool in allowed.tools])
    return Choice(mode="required", name=choice.name if isinstance(choice, Named) else _name(choice))


def _name(choice: FunctionChoice | CustomChoice) -> str:
    return choice.function.name if isinstance(choice, FunctionChoice) else choice.custom.name


def _parallel(asked: ChatBody) -> bool | None:
    """False where one call alone is wanted: also where the answer has room for no more."""
    return False if asked.parallel_tool_calls is False or asked.functions else None


def _response_format(asked: ChatBody) -> dict[str, Any] | None:
    wanted = asked.response_format
    if wanted is None or isinstance(wanted, TextFormat):
        return None
    if isinstance(wanted, SchemaFormat):
        return {"type": "json_schema", "json_schema": wanted.json_schema}
    return {"type": "json_object"}


def _written_calls(answer: ModelAnswer, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    customs = {tool["custom"]["name"] for tool in body.get("tools") or () if tool["type"] == "custom"}
    return [_written_call(call, is_custom=call.name in customs) for call in answer.message.tool_calls]


def _written_call(call: ToolCall, *, is_custom: bool) -> dict[str, Any]:
    if is_custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": input_text(call)}}
    function = {"name": call.name, "arguments": arguments_text(call)}
    return {"id": call.id, "type": "function", "function": function}


def _finish_reason(answer: ModelAnswer, *, is_legacy: bool) -> str:
    return "function_call" if is_legacy and answer.finish == "tool_calls" else answer.finish


def _logprobs(tokens: Sequence[AnswerToken]) -> dict[str, Any]:
    told = [
        {
            "token": token.text,
            "logprob": token.logprob,
            "bytes": list(token.text.encode()),
            "top_logprobs": [],
        }
        for token in tokens
    ]
    return {"content": told, "refusal": None}


def _usage(answer: ModelAnswer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
