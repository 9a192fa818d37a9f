"""Scaffolds that condense, branch, edit, have sub-agents or ask again: each makes exactly the expected trajectory."""

import asyncio

from gateway_scaffolds import (
    TOOL,
    alternating,
    end,
    open_session,
    request,
    run,
    says_where,
    student_only,
    system,
    told,
    user,
)

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.opening import Opening
from turnmix.core.trajectory import Trajectory
from turnmix.policies.scripted import ScriptedPolicy, call_action

RULES, TASK = system("Be brief."), user("Count.")
SEARCH = ToolSpecification(name="search", description="Searches.", parameters={"type": "object"})


def trajectory_of(scaffold, **parts):
    """What `scaffold`, given a session, makes; as it comes back from a store."""

    async def scenario():
        session = open_session(**parts)
        await scaffold(session)
        return await end(session)

    trajectory = run(scenario())
    assert Trajectory.from_json(trajectory.to_json()) == trajectory
    return trajectory


def recorded(text):
    """The tool's message as policies see it."""
    return Message(role="tool", content=text, tool_call_id="call_0")


def openings(trajectory):
    return [turn.opening for turn in trajectory.turns]


def observed(trajectory):
    return [[message.content for message in turn.observation] for turn in trajectory.turns]


def test_a_scaffold_that_condenses_its_history():
    async def scaffold(session):
        history = [RULES, TASK]
        for number in range(3):
            answer = await session.answer(request(*history))
            history += [answer.message, told(answer, f"{number}.")]
        history = [RULES, user("You counted to 2."), *history[-2:]]
        for number in range(3, 5):
            answer = await session.answer(request(*history))
            history += [answer.message, told(answer, f"{number}.")]

    trajectory = trajectory_of(scaffold)
    condensed = Opening(after=0, shared=1, messages=(user("You counted to 2."), 2, recorded("2.")))
    assert openings(trajectory) == [None, None, None, condensed, None]
    assert observed(trajectory) == [["0."], ["1."], [], ["3."], []]
    assert [turn.actor for turn in trajectory.turns] == ["student", "teacher"] * 2 + ["student"]
    assert trajectory.state(4).messages == (
        RULES,
        user("You counted to 2."),
        trajectory.turns[2].action.message,
        recorded("2."),
        trajectory.turns[3].action.message,
        recorded("3."),
    )


def test_a_scaffold_that_tries_two_ways_from_one_turn():
    async def scaffold(session):
        first = await session.answer(request(RULES, TASK))
        ways = [[RULES, TASK, first.message, told(first, way)] for way in ("left", "right")]
        for _ in range(2):
            for way in ways:
                answer = await session.answer(request(*way))
                way += [answer.message, told(answer, "on")]

    trajectory = trajectory_of(scaffold)
    assert openings(trajectory) == [
        None,
        None,
        Opening(after=0, shared=3, messages=(recorded("right"),)),
        Opening(after=1),
        Opening(after=2),
    ]
    assert observed(trajectory) == [["left"], ["on"], ["on"], [], []]
    assert [turn.is_rejected for turn in trajectory.turns] == [False] * 5


def test_a_scaffold_with_two_sub_agents_at_once():
    async def sub_agent(session, task):
        history = [system("You search."), user(task)]
        for _ in range(2):
            answer = await session.answer(request(*history, tools=(SEARCH,)))
            history += [answer.message, told(answer, "found")]

    async def scaffold(session):
        history = [RULES, TASK]
        answer = await session.answer(request(*history))
        await asyncio.gather(*(sub_agent(session, task) for task in ("North.", "South.")))
        history += [answer.message, told(answer, "both found")]
        await session.answer(request(*history))

    trajectory = trajectory_of(scaffold)
    assert openings(trajectory) == [
        None,
        Opening(after=None, messages=(system("You search."), user("North.")), tools=(SEARCH,)),
        Opening(after=1, shared=1, messages=(user("South."),)),
        Opening(after=1),
        Opening(after=2),
        Opening(after=0),
    ]
    assert [trajectory.state(turn).tools[0].name for turn in range(6)] == ["add", *["search"] * 4, "add"]
    assert observed(trajectory) == [["both found"], ["found"], ["found"], [], [], []]


def test_a_scaffold_that_shortens_old_observations():
    async def scaffold(session):
        first = await session.answer(request(RULES, TASK))
        second = await session.answer(request(RULES, TASK, first.message, told(first, "long " * 9)))
        last = (second.message, told(second, "long too"))
        await session.answer(request(RULES, TASK, first.message, told(first, "(cut)"), *last))

    trajectory = trajectory_of(scaffold)
    cut = Opening(after=0, shared=3, messages=(recorded("(cut)"), 1, recorded("long too")))
    assert openings(trajectory) == [None, None, cut]
    assert observed(trajectory) == [["long long long long long long long long long "], [], []]


def test_a_scaffold_that_edits_an_answer_goes_on_from_a_message_that_nobody_here_gave():
    edited = Message(role="assistant", content="I was edited.")

    async def scaffold(session):
        await session.answer(request(RULES, TASK))
        await session.answer(request(RULES, TASK, edited, user("Go on.")))

    trajectory = trajectory_of(scaffold)
    assert openings(trajectory) == [None, Opening(after=0, shared=2, messages=(edited, user("Go on.")))]
    # Its answer is in no later history; but nothing else was taken in its state.
    assert [turn.is_rejected for turn in trajectory.turns] == [False, False]


def test_the_same_request_again_gets_the_same_answer_also_while_the_first_is_in_flight():
    student = says_where("student")

    async def scaffold(session):
        same = request(RULES, TASK)
        first = await asyncio.gather(*(session.answer(same) for _ in range(3)))
        padded = request(system(" Be brief.\n"), user("Count. "))
        assert [*first, await session.answer(padded)] == [first[0]] * 4
        other_name = await session.answer(request(RULES, TASK))
        assert other_name.message == first[0].message

    trajectory = trajectory_of(scaffold, student=student)
    assert len(student.asked) == 1
    assert [turn.repeats for turn in trajectory.turns] == [4]


def test_an_answer_that_was_asked_for_again_and_dropped_is_rejected_and_its_state_labelled_once():
    teacher = says_where("teacher")

    async def scaffold(session):
        for seed in (1, 2, 3):
            answer = await session.answer(request(RULES, TASK, sampling={"seed": seed}))
        await session.answer(request(RULES, TASK, answer.message, told(answer, "on")))

    trajectory = trajectory_of(scaffold, teacher=teacher, actors=student_only)
    again = Opening(after=0, shared=2)
    assert openings(trajectory) == [None, again, again, None]
    assert [turn.is_rejected for turn in trajectory.turns] == [True, True, False, False]
    assert [turn.label is not None for turn in trajectory.turns] == [True, False, False, True]
    assert len(teacher.asked) == 2


def test_of_several_answers_asked_for_together_those_that_were_not_gone_on_with_are_rejected():
    async def scaffold(session):
        wanted = [request(RULES, TASK, sampling={"seed": seed}) for seed in (1, 2, 3)]
        best = (await asyncio.gather(*map(session.answer, wanted)))[1]
        await session.answer(request(RULES, TASK, best.message, told(best, "on")))

    trajectory = trajectory_of(scaffold)
    assert [turn.is_rejected for turn in trajectory.turns] == [True, False, True, False]


def test_answers_that_a_scaffold_carries_into_another_history_are_used():
    async def scaffold(session):
        first = await session.answer(request(RULES, TASK, sampling={"seed": 1}))
        await session.answer(request(RULES, TASK, sampling={"seed": 2}))
        await session.answer(request(user("Judge."), first.message, told(first, "on")))

    trajectory = trajectory_of(scaffold)
    assert trajectory.turns[2].opening == Opening(after=None, messages=(user("Judge."), 0, recorded("on")))
    assert [turn.is_rejected for turn in trajectory.turns] == [False, True, False]


def test_tools_that_change_within_a_line_are_told_where_they_change():
    async def scaffold(session):
        history = [RULES, TASK]
        for tools in ((TOOL,), (TOOL, SEARCH), (TOOL, SEARCH), ()):
            answer = await session.answer(request(*history, tools=tools))
            history += [answer.message, told(answer, "on")]

    trajectory = trajectory_of(scaffold)
    assert openings(trajectory) == [
        None,
        Opening(after=0, tools=(TOOL, SEARCH)),
        None,
        Opening(after=2, tools=()),
    ]


def test_a_scaffold_that_loses_or_renames_the_ids_of_calls_stays_in_its_line():
    def renamed(messages, rename):
        return [
            Message(
                role=each.role,
                content=each.content,
                tool_calls=tuple(
                    type(call)(id=rename(call.id), name=call.name, arguments=call.arguments)
                    for call in each.tool_calls
                ),
                tool_call_id=None if each.tool_call_id is None else rename(each.tool_call_id),
            )
            for each in messages
        ]

    def scaffold_with(rename):
        async def scaffold(session):
            history = [RULES, TASK]
            for number in range(3):
                answer = await session.answer(request(*renamed(history, rename)))
                history += [answer.message, told(answer, f"{number}.")]

        return scaffold

    # The same call each time: it is told apart by where it stands.
    parts = {"actors": student_only, "student": ScriptedPolicy.of_actions("student", [call_action("add")])}
    kept = trajectory_of(scaffold_with(lambda call_id: call_id), **parts)
    numbers = {}
    for rename in (lambda call_id: "", lambda call_id: numbers.setdefault(call_id, f"toolu_{len(numbers)}")):
        changed = trajectory_of(scaffold_with(rename), **parts)
        assert openings(changed) == [None] * 3
        assert [changed.state(turn) for turn in range(3)] == [kept.state(turn) for turn in range(3)]


def test_numbers_that_javascript_writes_its_own_way_are_the_same_arguments():
    async def scaffold(session):
        answer = await session.answer(request(RULES, TASK))
        (call,) = answer.message.tool_calls
        floats = {
            name: float(value) if isinstance(value, int) else value for name, value in call.arguments.items()
        }
        copy = Message(
            role="assistant",
            content=" ",
            tool_calls=(type(call)(id=call.id, name=call.name, arguments=floats),),
        )
        await session.answer(request(RULES, TASK, copy, told(answer, "on")))

    trajectory = trajectory_of(scaffold)
    assert openings(trajectory) == [None, None]
    assert trajectory.state(1).messages[2] is trajectory.turns[0].action.message


def test_a_scaffold_may_go_on_from_an_answer_by_its_id():
    async def scaffold(session):
        first = await session.answer(request(RULES, TASK))
        on = told(first, "on")
        second = await session.answer(request(on, previous=first.id))
        # Instructions are those of the request: the same ones, and others.
        again = await session.answer(request(RULES, on, previous=first.id))
        assert again.id == second.id
        await session.answer(request(system("Be long."), told(second, "on"), previous=second.id))

    trajectory = trajectory_of(scaffold)
    assert openings(trajectory)[:2] == [None, None]
    assert [turn.repeats for turn in trajectory.turns] == [0, 1, 0]
    assert trajectory.state(2).messages == (
        system("Be long."),
        *trajectory.state(1).messages[1:],
        trajectory.turns[1].action.message,
        recorded("on"),
    )


def test_who_acts_is_drawn_by_the_number_of_the_request_in_the_session():
    async def scaffold(session):
        for text in ("a", "b", "c", "d"):
            await session.answer(request(user(text)))

    trajectory = trajectory_of(scaffold, actors=alternating)
    assert [turn.actor for turn in trajectory.turns] == ["student", "teacher"] * 2
