"""Clients of a gateway over bare sockets, in each dialect: they may go away at any byte.

In: a URL, a key, a history. Out: a status and a body, or what is left where one of the two went away.
"""

import asyncio
import contextlib
import json
from urllib.parse import urlsplit

SCHEMA = {"type": "object", "properties": {"of": {"type": "string"}}, "required": ["of"]}
SECONDS = 600
"""In which everything is answered, also where this machine has much else to do."""


class Gone(Exception):
    """The other side went away."""


async def post(url, body, key, *, sent=None, read=None, wait=None):
    """Status and body of the answer. The client goes away after `sent` bytes, after `read` bytes of the answer, or
    after `wait` seconds: then None. Raises Gone."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"connection: close\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer = None
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write((head.encode() + body)[:sent])
        await writer.drain()
        if sent is not None:
            return None
        try:
            whole = await asyncio.wait_for(reader.read(-1 if read is None else read), wait or SECONDS)
        except asyncio.TimeoutError:
            if wait is None:
                raise AssertionError(f"{url} does not answer") from None
            return None
    except OSError as error:
        raise Gone(str(error)) from None
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    if read is not None:
        return None
    return answer_in(whole)


def answer_in(whole):
    head, _, body = whole.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise Gone("no answer")
    if b"transfer-encoding: chunked" in head.lower():
        body = joined(body)
    elif len(body) != int(head.lower().partition(b"content-length:")[2].split(None, 1)[0]):
        raise Gone("half an answer")
    return int(head[9:12]), body


def joined(chunked):
    """The body that comes in chunks. Raises Gone: its end is missing."""
    body = b""
    while True:
        size, _, chunked = chunked.partition(b"\r\n")
        if not size:
            raise Gone("half an answer")
        if (length := int(size, 16)) == 0:
            return body
        body, chunked = body + chunked[:length], chunked[length + 2 :]


def events(body):
    """The objects in a stream."""
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def is_failed(pieces):
    """Did a stream begin, and then say that no model could be asked?"""
    return any("error" in piece or piece.get("type") == "response.failed" for piece in pieces)


class Chat:
    path = "/v1/chat/completions"

    def body(self, history):
        messages = []
        for text, answer in history:
            if answer is None:
                messages.append({"role": "user", "content": text})
            else:
                messages += [
                    answer,
                    {"role": "tool", "tool_call_id": answer["tool_calls"][0]["id"], "content": text},
                ]
        function = {"name": "work", "description": "Works.", "parameters": SCHEMA}
        return {"model": "any", "messages": messages, "tools": [{"type": "function", "function": function}]}

    def answer(self, body):
        return {name: value for name, value in body["choices"][0]["message"].items() if value}

    def streamed(self, pieces):
        calls = [
            call
            for piece in pieces
            for choice in piece["choices"]
            for call in choice["delta"].get("tool_calls", ())
        ]
        name = next(call["function"]["name"] for call in calls if call["function"].get("name"))
        arguments = "".join(call["function"].get("arguments") or "" for call in calls)
        call = {"id": calls[0]["id"], "type": "function", "function": {"name": name, "arguments": arguments}}
        return {"role": "assistant", "tool_calls": [call]}

    def arguments(self, answer):
        return json.loads(answer["tool_calls"][0]["function"]["arguments"])

    def error(self, body):
        assert set(body["error"]) >= {"message", "type", "param", "code"}
        return body["error"]["message"]


class Responses(Chat):
    path = "/v1/responses"

    def body(self, history):
        items = []
        for text, answer in history:
            if answer is None:
                items.append({"role": "user", "content": text})
            else:
                items += [
                    *answer,
                    {"type": "function_call_output", "call_id": answer[-1]["call_id"], "output": text},
                ]
        tool = {"type": "function", "name": "work", "description": "Works.", "parameters": SCHEMA}
        return {"model": "any", "input": items, "tools": [tool]}

    def answer(self, body):
        return body["output"]

    def streamed(self, pieces):
        (completed,) = [piece["response"] for piece in pieces if piece["type"] == "response.completed"]
        return completed["output"]

    def arguments(self, answer):
        return json.loads(answer[-1]["arguments"])


class Messages(Chat):
    path = "/v1/messages"

    def body(self, history):
        messages = []
        for text, answer in history:
            if answer is None:
                messages.append({"role": "user", "content": text})
            else:
                result = {"type": "tool_result", "tool_use_id": answer[-1]["id"], "content": text}
                messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": [result]}]
        tool = {"name": "work", "description": "Works.", "input_schema": SCHEMA}
        return {"model": "any", "max_tokens": 1000, "messages": messages, "tools": [tool]}

    def answer(self, body):
        return body["content"]

    def streamed(self, pieces):
        (start,) = [
            piece["content_block"]
            for piece in pieces
            if piece["type"] == "content_block_start" and piece["content_block"]["type"] == "tool_use"
        ]
        parts = [
            piece["delta"].get("partial_json", "")
            for piece in pieces
            if piece["type"] == "content_block_delta"
        ]
        return [{**start, "input": json.loads("".join(parts))}]

    def arguments(self, answer):
        return answer[-1]["input"]

    def error(self, body):
        assert body["type"] == "error"
        assert set(body["error"]) >= {"message", "type"}
        return body["error"]["message"]


DIALECTS = (Chat(), Responses(), Messages())
