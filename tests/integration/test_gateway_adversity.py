"""A gateway among clients that go away, models that fail, and a kill: no turn is lost, none is there twice.

Every fault is drawn from a seed. Clients keep a ledger of what they were answered; each trajectory must hold exactly
that.
"""

import asyncio
import contextlib
import json
import os
import random
import time

import pytest
from failing_endpoint import FailingEndpoint
from gateway_clients import DIALECTS, SECONDS, Gone, events, is_failed, post
from gateway_faults import Faults, FaultyModel, Gateway
from long_tests import takes_many_minutes

from turnmix.store.run_directory import RunDirectory

MEGABYTE = 1 << 20
MOST_TRIES = 50
LONGEST_SECONDS = 3600


class Client:
    """One session's scaffold. Before each answer that it keeps, it does some of what clients do to a gateway."""

    def __init__(self, gateway, name, generator, faults, *, share):
        """`share`: of the questions before which it does such a thing."""
        self.gateway, self.name, self.draw, self.faults, self.share = gateway, name, generator, faults, share
        self.dialect = generator.choice(DIALECTS)
        self.ledger = {}
        """Of each question that was answered: the texts before it, in order."""
        self.order = []

    async def open(self):
        # Nobody has the keys of a session that was opened while the gateway was killed.
        numbers = iter(range(9))
        _, body = await self.tried(
            lambda: (
                f"{self.gateway.url}/sessions",
                json.dumps({"task": f"{self.name}-{next(numbers)}"}).encode(),
                "-",
            ),
            expected=(201,),
        )
        opened = json.loads(body)
        self.session, self.key = opened["url"], opened["key"]
        self.name = self.session.split("/")[-2]
        self.url = f"{self.session}{self.dialect.path}"

    async def tried(self, request, *, expected):
        """Status and body of an answer, however often the gateway goes away meanwhile."""
        until = time.monotonic() + SECONDS
        while True:
            with contextlib.suppress(Gone):
                status, body = await post(*request())
                assert status in expected, (self.name, status, body)
                return status, body
            assert time.monotonic() < until, "the gateway does not come back"
            await asyncio.sleep(0.05)

    async def work(self, turns):
        await self.open()
        history = [(f"{self.name}, question 0", None)]
        for turn in range(turns):
            if self.draw.random() < self.share:
                await self.disturb(history)
            answer = await self.ask(history)
            history = [*history, (f"{self.name}, question {turn + 1}", answer)]

    async def ask(self, history, **more):
        """The answer, asked for until it is there."""
        body = {**self.dialect.body(history), **more}
        is_streamed = body["stream"] = self.draw.random() < 0.4
        content = json.dumps(body).encode()
        for _ in range(MOST_TRIES):
            status, answered = await self.tried(lambda: (self.url, content, self.key), expected=(200, 503))
            if status == 200 and not (is_streamed and is_failed(events(answered))):
                break
            assert b"student" not in answered, answered
            assert b"teacher" not in answered, answered
        else:
            raise AssertionError(answered)
        answer = (
            self.dialect.streamed(events(answered))
            if is_streamed
            else self.dialect.answer(json.loads(answered))
        )
        question = history[-1][0]
        assert self.dialect.arguments(answer)["of"] == question
        if question not in self.ledger:
            self.order.append(question)
        self.ledger[question] = [text for text, _ in history]
        return answer

    async def disturb(self, history):
        kind = self.draw.choice(
            ("leaves", "leaves", "leaves in the stream", "twice", "at once", "side by side", "foreign key", "no key",
             "half a body", "invalid JSON", "no object", "wrong shape", "unknown id", "wrong path")
        )  # fmt: skip
        self.faults(f"client: {kind}")
        body = self.dialect.body(history)
        content = json.dumps(body).encode()
        with contextlib.suppress(Gone):
            if kind == "leaves":
                await post(self.url, content, self.key, wait=self.draw.uniform(0.001, 0.03))
            elif kind == "leaves in the stream":
                streamed = json.dumps({**body, "stream": True}).encode()
                await post(self.url, streamed, self.key, read=self.draw.randrange(1, 600))
            elif kind == "twice":
                await self.ask(history)
                await self.ask(history)
            elif kind == "at once":
                await asyncio.gather(*(self.ask(history) for _ in range(3)))
            elif kind == "side by side":
                aside = [(f"{self.name}, aside {len(self.ledger)} {number}", None) for number in range(2)]
                await asyncio.gather(self.ask(history), *(self.ask([*history[:1], each]) for each in aside))
            elif kind == "half a body":
                await post(self.url, content, self.key, sent=self.draw.randrange(1, len(content)))
            else:
                await self.be_refused(kind, body, content)

    async def be_refused(self, kind, body, content):
        foreign = f"tmx_{self.draw.randrange(1 << 200):x}"
        plain = f"{self.gateway.url}{self.dialect.path}"
        url, content, key, expected = {
            "foreign key": (self.url, content, foreign, 401),
            "no key": (plain, content, "", 401),
            "unknown id": (self.url.replace(self.name, "i009-99999"), content, self.key, 401),
            "invalid JSON": (self.url, content[:-1], self.key, 400),
            "no object": (self.url, b"[1, 2]", self.key, 400),
            "wrong shape": (
                self.url,
                json.dumps({**body, self.list_of(body): "words"}).encode(),
                self.key,
                400,
            ),
            "wrong path": (f"{self.url}/stream", content, self.key, 404),
        }[kind]
        status, told = await post(url, content, key)
        assert status == expected, (kind, status, told)
        assert self.dialect.error(json.loads(told))

    @staticmethod
    def list_of(body):
        return "messages" if "messages" in body else "tools"

    async def finish(self):
        url = f"{self.session}/finish"
        _, body = await self.tried(lambda: (url, b"{}", self.key), expected=(200,))
        assert json.loads(body) == {"turns": len(self.ledger)}, self.name


def lost_or_doubled(clients, run):
    """What the ledgers and the trajectories tell differently."""
    trajectories = RunDirectory.read(run).trajectories
    assert sorted(trajectories.ids) == sorted(client.name for client in clients)
    wrong = []
    for client in clients:
        (trajectory,) = trajectories.read([client.name])
        questions = [turn.action.message.tool_calls[0].arguments["of"] for turn in trajectory.turns]
        if sorted(questions) != sorted(client.ledger):
            wrong.append((client.name, questions, client.order))
            continue
        for index, turn in enumerate(trajectory.turns):
            state = trajectory.state(index)
            told = [message.content for message in state.messages if message.role != "assistant"]
            arguments = turn.action.message.tool_calls[0].arguments
            if told != client.ledger[arguments["of"]] or arguments["by"] != turn.actor:
                wrong.append((client.name, index, told))
            if turn.label is None or turn.label.message.tool_calls[0].arguments != {
                **arguments,
                "by": "teacher",
            }:
                wrong.append((client.name, index, "label"))
    return wrong


async def flood(gateway, faults):
    """A history of 100 MB in each dialect is refused, and held nowhere."""
    for number, dialect in enumerate(DIALECTS):
        client = Client(gateway, f"flood-{number}", random.Random(number), faults, share=0)
        client.dialect = dialect
        await client.open()
        body = json.dumps(dialect.body([("x" * 100 * MEGABYTE, None)])).encode()
        status, told = await post(client.url, body, client.key)
        assert status == 413, told
        assert "64 MiB" in dialect.error(json.loads(told))
        faults("client: 100 MB")
        await client.finish()
        yield client


async def survive(tmp_path, *, seed, sessions, turns, kills, share, crowd):
    """Faults of sessions at once, with kills; then a crowd of sessions, each of one turn, at one moment."""
    faults = Faults()
    async with (
        FailingEndpoint(FaultyModel(seed, faults, share=share)) as model,
        Gateway(model.url.removesuffix("/v1"), tmp_path) as gateway,
    ):
        clients = [client async for client in flood(gateway, faults)]

        def more(kind, number, share):
            names = [f"{kind}-{index:05}" for index in range(number)]
            made = [
                Client(gateway, name, random.Random(f"{seed} {name}"), faults, share=share) for name in names
            ]
            clients.extend(made)
            return made

        troubled = more("troubled", sessions, share)
        working = asyncio.gather(*(client.work(turns) for client in troubled))
        for number in range(kills):
            wanted = sessions * turns * (number + 1) // (kills + 1)
            while sum(len(each.ledger) for each in troubled) < wanted and not working.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await gateway.kill()
            faults("kill -9")
            await gateway.start()
        await working
        crowded = more("crowd", crowd, 0)
        await asyncio.gather(*(client.work(1) for client in crowded))
        await asyncio.gather(*(client.finish() for client in troubled + crowded))
    return faults, clients, gateway.peak


def check(tmp_path, *, seed, at_least, most_megabytes, **load):
    began = time.monotonic()
    faults, clients, peak = asyncio.run(
        asyncio.wait_for(survive(tmp_path, seed=seed, **load), LONGEST_SECONDS)
    )
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(faults.counts.items()))
    told = f"seed {seed}: {faults.total} faults ({counts}), {peak} MB, {time.monotonic() - began:.0f} s"
    print(told)
    assert lost_or_doubled(clients, tmp_path / "run") == [], told
    assert faults.total >= at_least, told
    assert peak < most_megabytes, told


def test_after_a_thousand_faults_no_turn_is_lost_and_none_is_there_twice(tmp_path):
    check(
        tmp_path,
        seed=1,
        sessions=40,
        turns=9,
        kills=1,
        share=0.8,
        crowd=1000,
        at_least=1000,
        most_megabytes=400,
    )


@takes_many_minutes
@pytest.mark.parametrize("seed", range(int(os.environ.get("TURNMIX_ADVERSITY_SEEDS", "1"))))
def test_after_thousands_of_faults_and_eight_kills_too(tmp_path, seed):
    check(
        tmp_path,
        seed=seed,
        sessions=100,
        turns=25,
        kills=8,
        share=0.8,
        crowd=1000,
        at_least=5_000,
        most_megabytes=400,
    )
