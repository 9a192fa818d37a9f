"""An answer as OpenAI's Responses write it. In: the answer, and the body of its request. Out: a body, or events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from turnmix.gateway.dialects.responses_history import item_id
from turnmix.gateway.dialects.server_sent import pieces, token_pieces
from turnmix.gateway.dialects.tools import arguments_text, input_text
from turnmix.gateway.model_request import AnswerToken, ModelAnswer

_REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Parameters that a response repeats, and what stands for one that was left out."""


def response_body(answer: ModelAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
    """The whole response."""
    was_cut = answer.finish == "length"
    output = _output(answer, body)
    if was_cut and "status" in output[-1]:
        output[-1] = {**output[-1], "status": "incomplete"}
    return {
        **_opened(answer, body),
        "status": "incomplete" if was_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if was_cut else None,
        "output": output,
        "usage": {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        },
    }


def response_events(answer: ModelAnswer, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The stream's events, each without its number."""
    written = response_body(answer, body)
    opened = _opened(answer, body)
    yield {"type": "response.created", "response": opened}
    yield {"type": "response.in_progress", "response": opened}
    for index, item in enumerate(written["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        events = _text_events(item, answer) if item["type"] == "message" else _call_events(item)
        yield {"type": "response.output_item.added", "output_index": index, "item": _begun(item)}
        for data in events:
            yield {**data, **place}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{written['status']}", "response": written}


def _opened(answer: ModelAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
    """A response of which nothing is there yet."""
    repeated = {
        name: default if (given := body.get(name)) is None else given for name, default in _REPEATED.items()
    }
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": answer.model,
        "output": [],
        "usage": None,
        **repeated,
        "tools": [_repeated_tool(tool) for tool in body.get("tools") or ()],
    }


def _repeated_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"parameters": None, "strict": None, **tool} if tool["type"] == "function" else tool


def _output(answer: ModelAnswer, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    customs = {tool["name"] for tool in body.get("tools") or () if tool["type"] == "custom"}
    output: list[dict[str, Any]] = []
    message = answer.message
    if message.content or not message.tool_calls:
        part = _text_part(message.content, answer.tokens)
        output.append(
            {
                "type": "message",
                "id": item_id("msg", answer.id, 0),
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        )
    for number, call in enumerate(message.tool_calls, start=1):
        named = {"call_id": call.id, "name": call.name}
        if call.name in customs:
            custom = {"type": "custom_tool_call", "id": item_id("ctc", answer.id, number)}
            output.append({**custom, **named, "input": input_text(call)})
        else:
            function = {"type": "function_call", "id": item_id("fc", answer.id, number)}
            output.append({**function, **named, "arguments": arguments_text(call), "status": "completed"})
    return output


def _text_part(text: str, tokens: Sequence[AnswerToken] | None) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    if tokens is not None:
        part["logprobs"] = [
            {
                "token": each.text,
                "bytes": list(each.text.encode()),
                "logprob": each.logprob,
                "top_logprobs": [],
            }
            for each in tokens
        ]
    return part


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    """An item of which nothing is there yet."""
    emptied: dict[str, Any] = {"content": []} if item["type"] == "message" else {_field(item): ""}
    return {**item, **emptied, **({"status": "in_progress"} if "status" in item else {})}


def _field(item: Mapping[str, Any]) -> str:
    return "arguments" if item["type"] == "function_call" else "input"


def _text_events(item: Mapping[str, Any], answer: ModelAnswer) -> Iterator[dict[str, Any]]:
    part = item["content"][0]
    place = {"content_index": 0}
    begun = {**part, "text": "", **({"logprobs": []} if "logprobs" in part else {})}
    yield {"type": "response.content_part.added", **place, "part": begun}
    for piece, tokens in token_pieces(part["text"], answer.tokens):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": _logprobs(tokens)}
    told = _logprobs(answer.tokens or ())
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": told}
    yield {"type": "response.content_part.done", **place, "part": part}


def _logprobs(tokens: Sequence[AnswerToken]) -> list[dict[str, Any]]:
    return [{"token": each.text, "logprob": each.logprob, "top_logprobs": []} for each in tokens]


def _call_events(item: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    field = _field(item)
    kind = "function_call_arguments" if field == "arguments" else "custom_tool_call_input"
    for piece in pieces(item[field]):
        yield {"type": f"response.{kind}.delta", "delta": piece}
    yield {"type": f"response.{kind}.done", field: item[field]}
