"""A session's journal: what is asked again after a kill and what is not, and what a damaged one says."""

import asyncio
import json
from dataclasses import replace

import pytest
from gateway_scaffolds import (
    PLAN,
    end,
    open_session,
    request,
    run,
    says_where,
    student_only,
    told,
    user,
)

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Action
from turnmix.gateway.session.journal import SessionJournal
from turnmix.policies.scripted import ScriptedPolicy, call_action, text_action

TASK = user("Count.")


async def killed(path, scaffold, **parts):
    """A session that is not ended: its process is gone, and its journal stays."""
    journal = SessionJournal.create(path, PLAN)
    session = open_session(journal=journal, **parts)
    await scaffold(session)
    journal.close()
    await session.close()


def test_labels_that_came_are_kept_and_those_in_flight_are_asked_for_again(tmp_path):
    came, in_flight = says_where("teacher"), asyncio.Event()

    async def sleep(seconds):
        if len(came.asked) > 1:
            await in_flight.wait()

    def script(episode, state):
        came.asked.append(state)
        return call_action("add", who="teacher")

    async def scaffold(session):
        answer = await session.answer(request(TASK))
        await asyncio.sleep(0.01)
        await session.answer(request(TASK, answer.message, told(answer, "on")))

    async def scenario():
        slow = ScriptedPolicy("teacher", script, latency=1, sleep=sleep)
        await killed(tmp_path / "j", scaffold, teacher=slow, actors=student_only)
        student, teacher = says_where("student"), says_where("teacher")
        journal = SessionJournal.open(tmp_path / "j")
        session = open_session(journal=journal, teacher=teacher, student=student, actors=student_only)
        assert session.num_turns == 2
        trajectory = await end(session)
        return student, teacher, trajectory

    student, teacher, trajectory = run(scenario())
    assert student.asked == []
    assert teacher.asked == [trajectory.state(1)]
    assert [turn.label.message.tool_calls[0].arguments["who"] for turn in trajectory.turns] == ["teacher"] * 2
    assert "label" in trajectory.turns[0].seconds


def test_a_request_in_flight_at_two_kills_is_taken_once_the_third_time(tmp_path):
    async def asked_and_killed(journal):
        session = open_session(journal=journal, student=never_answers(), actors=student_only)
        asking = asyncio.create_task(session.answer(request(TASK)))
        await asyncio.sleep(0.01)
        asking.cancel()
        journal.close()
        await session.close()

    async def scenario():
        await asked_and_killed(SessionJournal.create(tmp_path / "j", PLAN))
        await asked_and_killed(SessionJournal.open(tmp_path / "j"))
        journal = SessionJournal.open(tmp_path / "j")
        session = open_session(journal=journal, student=says_where("student"), actors=student_only)
        await session.answer(request(TASK))
        return await end(session)

    trajectory = run(scenario())
    assert [turn.action.message.tool_calls[0].name for turn in trajectory.turns] == ["add"]


def never_answers():
    async def sleep(seconds):
        await asyncio.Event().wait()

    return ScriptedPolicy("student", lambda episode, state: text_action("late"), latency=1, sleep=sleep)


def test_sampled_tokens_come_back_with_their_turns_and_in_the_states_behind_them(tmp_path):
    sampled = Action(
        message=text_action("hm").message,
        token_ids=(5, 6, 7),
        logprobs=(-0.1, None, -0.3),
        prompt_tokens=9,
        completion_tokens=3,
    )
    student = ScriptedPolicy.of_actions("student", [sampled])

    async def scaffold(session):
        await session.answer(request(TASK))

    async def scenario():
        await killed(tmp_path / "j", scaffold, student=student, label=False, actors=student_only)
        journal = SessionJournal.open(tmp_path / "j")
        session = open_session(journal=journal, student=student, label=False, actors=student_only)
        answer = await session.answer(request(TASK))
        await session.answer(request(TASK, answer.message, user("Go on.")))
        return await end(session)

    trajectory = run(scenario())
    assert trajectory.turns[0].action == sampled
    assert trajectory.state(1).messages[1].token_ids == (5, 6, 7)
    assert [turn.repeats for turn in trajectory.turns] == [1, 0]
    assert trajectory.usage["student"].input_tokens == 18


def test_lines_that_rest_draw_on_where_they_were():
    drawn = []

    class Policy:
        name = "student"

        def begin(self, episode):
            return Session(episode)

    class Session:
        def __init__(self, episode):
            self.seed, self.turn = episode.seed, episode.turns_taken

        async def look(self):
            pass

        async def act(self, state):
            self.turn += 1
            drawn.append((self.seed, self.turn))
            return call_action("add", n=len(drawn))

        async def close(self):
            pass

    async def scenario():
        session = open_session(student=Policy(), label=False, actors=student_only)
        histories = [[user(f"Agent {number}.")] for number in range(7)]
        for _ in range(3):
            for history in histories:
                answer = await session.answer(request(*history))
                history += [answer.message, told(answer, "on")]
        return await end(session)

    trajectory = run(scenario())
    assert len(trajectory.turns) == 21
    assert sorted(turn for _, turn in drawn) == [1] * 7 + [2] * 7 + [3] * 7
    assert len(set(drawn)) == 21


@pytest.fixture
def lines(tmp_path):
    async def scaffold(session):
        answer = await session.answer(request(TASK))
        await session.answer(request(TASK, answer.message, told(answer, "on")))

    run(killed(tmp_path / "j", scaffold, label=False))
    return [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]


def changed(line, /, **fields):
    def change(lines):
        lines[line] = {**lines[line], **fields}

    return change


DAMAGE = {
    "an action of another kind": changed(2, action={"message": 1}),
    "tokens that are texts": changed(
        2, action={"message": {"role": "assistant", "content": ""}, "token_ids": ["x"]}
    ),
    "a turn that was not asked for": changed(2, number=7),
    "a history behind none": changed(1, behind=9),
    "another actor": changed(2, actor="accident"),
    "an unknown event": changed(3, kind="deleted"),
    "no tools": changed(1, tools=None),
    "a digest that is none": changed(1, wishes="zz"),
    "no first line": lambda lines: lines.pop(0),
    "a later format": changed(0, format=99),
    "an event twice": lambda lines: lines.insert(2, {**lines[1], "id": "again"}),
    "nothing": lambda lines: lines.clear(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_journal_is_told_by_one_line_that_names_it(tmp_path, lines, damage):
    damage(lines)
    path = tmp_path / "damaged"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match="damaged") as raised:
        open_session(journal=SessionJournal.open(path))
    assert "\n" not in str(raised.value)
    assert "delete that" in str(raised.value)


def test_a_journal_of_another_plan_and_one_that_is_there_already_are_refused(tmp_path, lines):
    journal = SessionJournal.open(tmp_path / "j")
    with pytest.raises(UserError, match="trajectory_id"):
        journal.check(replace(PLAN, trajectory_id="i001-00001"))
    with pytest.raises(UserError, match="already"):
        SessionJournal.create(tmp_path / "j", PLAN)
    assert not journal.is_closed
    journal.mark_closed()
    assert SessionJournal.open(tmp_path / "j").is_closed
