"""Agents that ask a model turn by turn, as fast as a client in Python can: what they wait for is what is measured.

In: where to ask, how many agents at once, how many turns each. Out: for each turn the seconds until its answer was
whole. An agent's history grows as a coding agent's does: a system prompt and a task, then in each turn the model's own
message as it came, and one to two thousand characters that its tool showed.
"""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from synthetic_text import words

SYSTEM, TASK = 2000, 1500  # characters
OBSERVATION = (1000, 2000)
LONGEST = 2.0
"""Times of what a load would take with a model that answers at once."""
NAMES = ("bash", "view_file", "edit_file", "search", "finish")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name}: one step of work on the repository under /workspace. Give each argument "
            "as it is, without quotes; what is longer than 16,000 characters is cut in the middle.",
            "parameters": {
                "type": "object",
                "properties": {
                    "argument": {"type": "string", "description": "What to run, view, write or look for."},
                    "path": {"type": "string", "description": "A file, from the repository's root."},
                    "lines": {"type": "array", "items": {"type": "integer"}, "description": "First, last."},
                },
                "required": ["argument"],
            },
        },
    }
    for name in NAMES
]


class Refused(Exception):
    """What was asked got no good answer."""


class Connection(asyncio.Protocol):
    """One request after the other to one place."""

    def __init__(self):
        self._received = bytearray()
        self._needed = None
        self._answered = None

    @classmethod
    async def to(cls, url):
        parts = urlsplit(url)
        _, connection = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        return connection

    def connection_made(self, transport):
        self._transport = transport

    def connection_lost(self, error):
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(Refused("the connection was lost"))

    def data_received(self, data):
        self._received += data
        if self._needed is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._received[:end]).lower()
            self._status = int(head[9:12])
            self._begin = end + 4
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._needed = self._begin + int(length)
        if len(self._received) >= self._needed:
            body = bytes(self._received[self._begin : self._needed])
            self._received.clear()
            self._needed = None
            self._answered.set_result((self._status, body))

    async def post(self, url, body, key="none"):
        """The body of a good answer."""
        parts = urlsplit(url)
        self._answered = asyncio.get_running_loop().create_future()
        head = (
            f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        status, answer = await self._answered
        if status // 100 != 2:
            raise Refused(f"{url} answered {status}: {answer[:500].decode('utf-8', 'replace')}")
        return answer

    def close(self):
        self._transport.close()


@dataclass
class Scripts:
    """What agents are told, made before anything is measured."""

    turns: int
    heads: list = field(default_factory=list)
    observations: list = field(default_factory=list)

    def __post_init__(self):
        generator = random.Random(0)
        system = {"role": "system", "content": words(generator, SYSTEM)}
        for number in range(64):
            task = {"role": "user", "content": f"Task {number}. {words(generator, TASK)}"}
            self.heads.append([json.dumps(system).encode(), json.dumps(task).encode()])
        for _ in range(256):
            text = json.dumps(words(generator, generator.randrange(*OBSERVATION)))
            self.observations.append(text.encode())


TOOLS_TEXT = json.dumps(TOOLS).encode()


async def agent(number, door, scripts, *, pause, waits, until):
    """One agent's turns, from its session's opening to its end; `waits` gets the seconds of each.

    door: opens a session over a connection, and closes it
    pause: mean seconds that its tools take
    until: it leaves off then, where it is asked too much
    """
    generator = random.Random(number)
    await asyncio.sleep(generator.uniform(0, 2 * pause))
    connection = await Connection.to(door.url)
    session = await door.open(connection, number)
    history = list(scripts.heads[number % len(scripts.heads)])
    for _ in range(scripts.turns):
        if time.perf_counter() > until:
            break
        body = b'{"model": "model", "messages": [' + b", ".join(history) + b'], "tools": ' + TOOLS_TEXT + b"}"
        began = time.perf_counter()
        answer = await connection.post(session.url, body, session.key)
        waits.append(time.perf_counter() - began)
        message = json.loads(answer)["choices"][0]["message"]
        history.append(json.dumps({name: value for name, value in message.items() if value}).encode())
        observation = scripts.observations[generator.randrange(len(scripts.observations))]
        for call in message["tool_calls"]:
            told = b'{"role": "tool", "tool_call_id": "%b", "content": %b}'
            history.append(told % (call["id"].encode(), observation))
        if pause:
            await asyncio.sleep(generator.uniform(0, 2 * pause))
    await door.close(connection, session)
    connection.close()


@dataclass(frozen=True)
class Session:
    """Where one agent asks."""

    url: str
    key: str = "none"
    id: str = ""


@dataclass(frozen=True)
class PlainDoor:
    """An endpoint that knows no sessions."""

    url: str
    key: str = "none"

    async def open(self, connection, number):
        return Session(f"{self.url}/chat/completions", self.key)

    async def close(self, connection, session):
        """Nothing is held."""


@dataclass(frozen=True)
class GatewayDoor:
    """A gateway whose sessions are opened, each for one agent."""

    url: str
    kind: str
    """Who acts."""

    async def open(self, connection, number):
        opened = json.loads(
            await connection.post(f"{self.url}/sessions", json.dumps({"task": self.kind}).encode())
        )
        return Session(f"{opened['url']}/chat/completions", opened["key"], opened["session_url"])

    async def close(self, connection, session):
        ended = json.loads(await connection.post(f"{session.id}/finish", b"{}", session.key))
        if ended["error"] is not None:
            raise Refused(f"a session ended with {ended['error']}")


@dataclass(frozen=True)
class Load:
    """What so many agents at once came to."""

    waits: list
    seconds: float


async def measure(door, scripts, *, sessions, pause):
    waits = []
    began = time.perf_counter()
    until = began + LONGEST * scripts.turns * (pause + 0.1)
    await asyncio.gather(
        *(agent(number, door, scripts, pause=pause, waits=waits, until=until) for number in range(sessions))
    )
    return Load(sorted(waits), time.perf_counter() - began)
