"""Whatever a scaffold asks: each request has one turn, whose state is what the request said; nothing is lost."""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from gateway_scaffolds import PLAN, TOOL, end, open_session, request, run, told, user

from turnmix.core.errors import TeacherError
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import StopReason, Trajectory
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.session.journal import SessionJournal
from turnmix.policies.scripted import ScriptedPolicy, call_action, text_action

OTHER = ToolSpecification(name="other", description="", parameters={"type": "object"})


def wandering(name, generator, failures):
    """Says one of a few things, so that answers come twice; some fail, as `failures` draws."""

    def script(episode, state):
        if failures.random() < 0.2:
            raise TeacherError("busy")
        draw = generator.random()
        if draw < 0.2:
            return text_action("yes")
        return call_action("add", by=name, amount=1 if draw < 0.6 else 2)

    return ScriptedPolicy(name, script)


class Scaffold:
    """Asks at random: goes on, goes back, cuts, edits, repeats, asks two things at once."""

    def __init__(self, session, generator, known=()):
        """`known`: requests with the answers that an earlier process of the gateway gave, which are not asked again."""
        self.session = session
        self.known = dict(known)
        self.draw = generator
        self.histories = [[user("a")], [user("a"), user("b")]]
        self.expected = {}
        """Of each request: the state that it must be answered in."""

    async def step(self):
        draws = [self._drawn() for _ in range(self.draw.choice((1, 1, 2)))]
        self.histories += await asyncio.gather(*(self._ask(*drawn) for drawn in draws))

    def _drawn(self):
        history = list(self.draw.choice(self.histories[-6:] + self.histories[:2]))
        kind = self.draw.random()
        if kind < 0.15:
            history = history[: self.draw.randint(1, len(history))]
        elif kind < 0.25:
            history[self.draw.randrange(len(history))] = user("edited")
        elif kind < 0.35:
            history = history[self.draw.randrange(len(history)) :]
        elif kind < 0.4:
            history.append(Message(role="assistant", content=self.draw.choice(("yes", "foreign"))))
        tools = (TOOL,) if self.draw.random() < 0.8 else (OTHER,)
        return history, tools, self.draw.choice((None, None, None, {"seed": 1}))

    async def _ask(self, history, tools, sampling):
        asked = request(*history, tools=tools, sampling=sampling)
        key = repr((history, tools, sampling))
        answer = self.known.get(key)
        for _ in range(50):
            if answer is not None:
                break
            with contextlib.suppress(RequestError):
                answer = await self.session.answer(asked)
        answers = self.expected.setdefault(key, (asked, answer))
        assert answers[1].id == answer.id
        follow = [told(answer, "ok")] if answer.message.tool_calls else [user("go on")]
        return [*history, answer.message, *follow]


def as_policies_see(messages):
    """The session's ids of calls are told to no policy: each of ours calls once, by `call_0`."""
    return [
        replace(
            message,
            tool_calls=tuple(replace(call, id="call_0") for call in message.tool_calls),
            tool_call_id=message.tool_call_id and "call_0",
        )
        for message in messages
    ]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_every_request_has_one_turn_in_exactly_its_state(seed, num_steps):
    async def scenario():
        acting, failures = random.Random(seed + 1), random.Random(seed + 2)
        session = open_session(
            student=wandering("student", acting, failures),
            teacher=wandering("teacher", acting, random.Random(0)),
            label=False,
            actors=lambda turn, state: "student" if turn % 3 else "teacher",
        )
        scaffold = Scaffold(session, random.Random(seed))
        for _ in range(num_steps):
            await scaffold.step()
        return scaffold.expected, await end(session)

    expected, trajectory = run(scenario())
    assert trajectory.stop_reason is StopReason.finished
    assert len({answer.id for _, answer in expected.values()}) == len(expected) == len(trajectory.turns)
    by_number = sorted(expected.values(), key=lambda each: int(each[1].id.rsplit("_", 1)[1]))
    read_back = Trajectory.from_json(trajectory.to_json())
    for index, (asked, answer) in enumerate(by_number):
        turn, state = trajectory.turns[index], trajectory.state(index)
        assert list(state.messages) == as_policies_see(asked.messages)
        assert state.tools == asked.tools
        assert [turn.action.message] == as_policies_see([answer.message])
        assert turn.actor == ("student" if index % 3 else "teacher")
        assert read_back.state(index) == state


class DrawingPolicy:
    """Draws its n-th action in a trajectory from the trajectory's seed and n, as a student in this process does."""

    def __init__(self, name):
        self.name = name
        self.states = []

    def begin(self, episode):
        return DrawingSession(self, episode)


class DrawingSession:
    def __init__(self, policy, episode):
        self._policy, self._seed, self._turn = policy, episode.seed, episode.turns_taken

    async def look(self):
        pass

    async def act(self, state):
        self._policy.states.append(state)
        self._turn += 1
        draw = random.Random(derive_seed(self._seed, self._policy.name, self._turn)).random()
        await asyncio.sleep(0)
        return text_action("yes") if draw < 0.2 else call_action("add", by=self._policy.name, draw=draw)

    async def close(self):
        pass


def without_seconds_and_repeats(trajectory):
    turns = tuple(replace(turn, seconds={}, repeats=0) for turn in trajectory.turns)
    return replace(trajectory, turns=turns)


@settings(max_examples=2000, deadline=None)
@example(seed=13323, num_steps=5, where=0.25, is_asked_again=False)  # two requests in flight in one state
@example(seed=2797, num_steps=6, where=0.3125, is_asked_again=False)  # one of which has the state's label
@given(st.integers(0, 2**32), st.integers(1, 15), st.floats(0, 1), st.booleans())
def test_a_session_killed_at_any_byte_of_its_journal_goes_on_to_the_same_trajectory(
    seed, num_steps, where, is_asked_again
):
    async def driven(journal, student, known=()):
        session = open_session(
            journal=journal,
            student=student,
            # A stateless teacher, as one behind an endpoint: the label of a state is the same whenever it is asked.
            teacher=ScriptedPolicy(
                "teacher", lambda episode, state: call_action("add", n=len(state.messages))
            ),
            actors=lambda turn, state: "student" if turn % 3 else "teacher",
        )
        scaffold = Scaffold(session, random.Random(seed), known)
        for _ in range(num_steps):
            await scaffold.step()
        trajectory = await end(session)
        journal.close()
        return scaffold.expected, trajectory

    with tempfile.TemporaryDirectory() as directory:
        whole, cut = Path(directory) / "whole", Path(directory) / "cut"
        first = SessionJournal.create(whole, PLAN, about={"key": "digest"})
        opened = whole.stat().st_size
        asked = DrawingPolicy("student")
        expected, trajectory = run(driven(first, asked))
        content = whole.read_bytes()
        cut.write_bytes(content[: opened + int(where * (len(content) - opened))])
        *lines, _ = cut.read_bytes().split(b"\n")
        answered = {event["number"] for event in map(json.loads, lines) if event["kind"] == "answered"}
        given = {
            key: answer
            for key, (_, answer) in expected.items()
            if int(answer.id.rsplit("_", 1)[1]) in answered
        }

        second = SessionJournal.open(cut)
        assert second.about == {"key": "digest"}
        asked_again = DrawingPolicy("student")
        found, restored = run(driven(second, asked_again, () if is_asked_again else given))

    assert without_seconds_and_repeats(restored) == without_seconds_and_repeats(trajectory)
    assert restored.usage == trajectory.usage
    assert found.keys() == expected.keys()
    assert all(found[key][1].message == answer.message for key, (_, answer) in expected.items())
    # What was answered is asked of nobody again.
    num_given = sum(restored.turns[number].actor == "student" for number in answered)
    assert len(asked_again.states) == len(asked.states) - num_given
