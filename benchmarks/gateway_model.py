"""Run as a program: a model behind an endpoint, as far as a gateway before it notices.

    python gateway_model.py ANSWERS SECONDS

In: a JSON file with bodies of answers by path. Out: its port, a line on standard output; then each request to such a
path is answered with the next of the bodies, SECONDS after it has come whole. What was asked is not looked at, so that
the machine is left to whatever is measured.
"""

import asyncio
import itertools
import json
import sys
from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class ModelConnection(asyncio.Protocol):
    """One request after the other."""

    def __init__(self, answers, seconds):
        self._answers, self._seconds = answers, seconds
        self._received = bytearray()
        self._needed = 0
        self._path = b""

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._received += data
        if not self._needed and (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).lower()
            self._path = head.split(b" ", 2)[1]
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._needed = end + 4 + int(length or 0)
        if self._needed and len(self._received) >= self._needed:
            self._received.clear()
            self._needed = 0
            asyncio.get_running_loop().call_later(self._seconds, self._answer, self._path)

    def _answer(self, path):
        if not self._transport.is_closing():
            self._transport.write(next(self._answers[path]))


def encoded(bodies):
    """Whole responses, over and over."""
    texts = [json.dumps(body).encode() for body in bodies]
    return itertools.cycle([HEAD % len(text) + text for text in texts])


async def serve(answers, seconds):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ModelConnection(answers, seconds), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    read = json.loads(Path(sys.argv[1]).read_text())
    asyncio.run(serve({path.encode(): encoded(bodies) for path, bodies in read.items()}, float(sys.argv[2])))
