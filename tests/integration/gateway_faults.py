"""What goes wrong around a gateway, drawn from a seed: a model that fails in many ways, a process that is killed."""

import asyncio
import json
import random
import sys
from pathlib import Path

from failing_endpoint import Reply, completion

from turnmix.policies.server.process import free_port

PROGRAM = Path(__file__).with_name("gateway_program.py")


class Gateway:
    """A gateway's process, which may be killed and comes back at the same place."""

    def __init__(self, model, directory):
        self._model, self._directory = model, directory
        self.port = str(free_port(None))
        self.peak = 0

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.kill()

    async def start(self):
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            self._model,
            str(self._directory),
            self.port,
            stdout=asyncio.subprocess.PIPE,
        )
        said = await asyncio.wait_for(self._process.stdout.readline(), 300)
        assert said, "the gateway does not start"
        self.port = said.decode().strip()
        self.url = f"http://127.0.0.1:{self.port}"

    async def kill(self):
        if self._process.returncode is None:
            self.note_memory()
            self._process.kill()
            await self._process.wait()

    def note_memory(self):
        """The most that it has held, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        self.peak = max(self.peak, int(status.partition("VmHWM:")[2].split()[0]) >> 10)


class Faults:
    """How many of each kind there were."""

    def __init__(self):
        self.counts = {}

    def __call__(self, kind):
        self.counts[kind] = self.counts.get(kind, 0) + 1

    @property
    def total(self):
        return sum(self.counts.values())


class FaultyModel:
    """Answers a question with a call that names it. How often, and how, it fails before that is drawn from the seed,
    for each question anew."""

    KINDS = ("429", "500", "hangs", "cut body", "no body", "garbage", "no choices", "gave up")

    def __init__(self, seed, faults, *, share):
        self._seed, self._faults, self._share = seed, faults, share
        self._drawn = {}

    def __call__(self, number, request):
        who, question = request.body["model"], request.body["messages"][-1]["content"]
        if (who, question) not in self._drawn:
            draw = random.Random(f"{self._seed} {who} {question}")
            # A teacher's label that fails for good fails its session, as it does natively: it fails thrice at most.
            number = (
                draw.choice((1, 1, 2, 3)) if draw.random() < self._share and "crowd" not in question else 0
            )
            weights = [1 if kind == "hangs" else 6 for kind in self.KINDS]
            self._drawn[who, question] = draw.choices(self.KINDS, weights, k=number)
        if drawn := self._drawn[who, question]:
            kind = drawn.pop()
            self._faults(f"model: {kind}")
            return self._fault(kind)
        return completion("", [("work", json.dumps({"of": question, "by": who}))])

    def _fault(self, kind):
        whole = completion("Half of", [("work", '{"of": "what nobody asked"}')])
        return {
            "429": lambda: Reply(429, b'{"error": {"message": "slow down"}}', {"retry-after": "0"}),
            "500": lambda: Reply(500, b'{"error": {"message": "out of memory"}}'),
            "hangs": lambda: Reply(body=whole.body, delay=600.0),
            "cut body": lambda: Reply(body=whole.body, cut_after=len(whole.body) // 2),
            "no body": lambda: Reply(body=whole.body, cut_after=0),
            "garbage": lambda: Reply(body=b"<html>\xff\xfe Bad gateway</html>"),
            "no choices": lambda: Reply(body=b'{"choices": []}'),
            "gave up": lambda: completion("Half of", finish_reason="abort"),
        }[kind]()
