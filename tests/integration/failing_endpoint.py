"""A real HTTP server that answers chat completions as a script says, failures included.

In: `script(number, request) -> Reply`, called for each request in order of arrival. Out: a URL, and what was
asked.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field


@dataclass
class Reply:
    """One scripted response."""

    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before it is sent; use a long one to hang."""
    cut_after: int | None = None
    """Close the connection after this many bytes of the body."""


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict
    body: dict
    at: float
    """When, by the event loop's clock."""


def completion(content="", calls=(), finish_reason=None, usage=(10, 5)):
    """The answer of a chat completion; `calls` are (name, raw arguments) or whole call objects."""
    tool_calls = [
        call
        if isinstance(call, dict)
        else {"id": f"id_{index}", "type": "function", "function": {"name": call[0], "arguments": call[1]}}
        for index, call in enumerate(calls)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": tool_calls or None}
    reason = finish_reason or ("tool_calls" if tool_calls else "stop")
    data = {"choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    if usage is not None:
        data["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Reply(body=json.dumps(data).encode())


def refusal(status, message, **headers):
    """An error in OpenAI's shape."""
    body = json.dumps({"error": {"message": message}}).encode()
    return Reply(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


class FailingEndpoint:
    """`async with FailingEndpoint(script) as server:` serves on a free port of this machine, or the one named."""

    def __init__(self, script, *, port=0):
        self._script = script
        self.port = port
        self._handlers = set()
        self.requests = []
        self.num_active = 0
        self.most_active = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._handlers.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._serve_one(reader, writer):
                pass
        writer.close()

    async def _serve_one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        now = asyncio.get_running_loop().time()
        request = Request(method, path, headers, json.loads(raw) if raw else {}, now)
        self.requests.append(request)
        self.num_active += 1
        self.most_active = max(self.most_active, self.num_active)
        try:
            reply = self._script(len(self.requests) - 1, request)
            await asyncio.sleep(reply.delay)
        finally:
            self.num_active -= 1
        lines = [f"HTTP/1.1 {reply.status} Scripted", f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body[: reply.cut_after])
        await writer.drain()
        return reply.cut_after is None
