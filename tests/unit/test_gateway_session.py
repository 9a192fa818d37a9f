"""A scaffold asks a session: who acts is mixed, labels are asked for beside, and its turns are one trajectory."""

from gateway_scaffolds import (
    TOOL,
    end,
    open_session,
    request,
    run,
    system,
    told,
    user,
)

from turnmix.core.trajectory import StopReason


async def linear(session, num_turns):
    """A scaffold that keeps its whole history; the answers."""
    history, answers = [system("Be brief."), user("Count.")], []
    for number in range(num_turns):
        answers.append(await session.answer(request(*history)))
        history += [answers[-1].message, told(answers[-1], f"That was {number}.")]
    return answers


def test_a_scaffold_that_keeps_its_history_makes_a_plain_trajectory():
    async def scenario():
        session = open_session()
        answers = await linear(session, 4)
        return answers, await end(session)

    answers, trajectory = run(scenario())
    assert [turn.actor for turn in trajectory.turns] == ["student", "teacher"] * 2
    assert [turn.opening for turn in trajectory.turns] == [None] * 4
    assert [turn.label is turn.action for turn in trajectory.turns] == [False, True] * 2
    assert all(turn.label is not None for turn in trajectory.turns)
    assert trajectory.prompt == (system("Be brief."), user("Count."))
    assert trajectory.tools == (TOOL,)
    assert trajectory.stop_reason is StopReason.finished
    assert trajectory.verdict.resolved
    # The ids on the wire are the session's own; policies know theirs alone.
    ids = [answer.message.tool_calls[0].id for answer in answers]
    assert len(set(ids)) == 4
    assert all(each.startswith("call_") and each != "call_0" for each in ids)
    for turn in trajectory.turns[:-1]:
        assert [message.tool_call_id for message in turn.observation] == ["call_0"]
    assert trajectory.turns[-1].observation == ()
    assert [message.role for message in trajectory.state(3).messages] == (
        ["system", "user"] + ["assistant", "tool"] * 3
    )
