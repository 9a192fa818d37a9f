"""Stuck detection: each pattern at its threshold, and one step before it."""

from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action
from turnmix.scaffold.stuck import Exchange, stuck_pattern


def called(command: str, observation: str, *, number: int = 0, thought: str = "") -> Exchange:
    call = ToolCall(id=f"call_{number}", name="execute_bash", arguments={"command": command})
    action = Action(message=Message(role="assistant", content=thought, tool_calls=(call,)))
    return Exchange.of(action, (Message(role="tool", content=observation, tool_call_id=call.id),))


def said(text: str) -> Exchange:
    action = Action(message=Message(role="assistant", content=text))
    return Exchange.of(action, (Message(role="user", content="Please continue."),))


def test_four_equal_actions_with_equal_observations_are_stuck_whatever_their_ids_and_reasons():
    history = [called("ls", "a.py", number=n, thought=f"reason {n}") for n in range(4)]
    assert stuck_pattern(history) is not None
    assert stuck_pattern(history[:3]) is None


def test_four_equal_actions_with_a_new_observation_are_not_stuck():
    assert stuck_pattern([*[called("ls", "a.py")] * 3, called("ls", "b.py")]) is None


def test_three_equal_refused_actions_are_stuck_though_the_refusals_differ():
    history = [called("ls", f"ERROR: {n}") for n in range(3)]
    assert stuck_pattern(history) is not None
    assert stuck_pattern(history[:2]) is None
    assert stuck_pattern([*history[:2], called("ls", "a.py")]) is None


def test_three_equal_failing_commands_are_not_yet_stuck():
    assert stuck_pattern([called("test", "[Command finished with exit code 1]")] * 3) is None


def test_three_equal_messages_without_a_call_are_stuck():
    assert stuck_pattern([said("Done.")] * 3) is not None
    assert stuck_pattern([said("Done.")] * 2) is None
    assert stuck_pattern([said("One."), said("Two."), said("Three.")]) is None


def test_two_actions_in_turn_three_times_are_stuck():
    first, second = called("ls", "a.py"), called("pwd", "/")
    assert stuck_pattern([first, second] * 3) is not None
    assert stuck_pattern(([first, second] * 3)[1:]) is None
    assert stuck_pattern([first, second, first, second, first, called("pwd", "/tmp")]) is None


def test_getting_on_after_a_repetition_is_not_stuck():
    assert stuck_pattern([*[called("ls", "a.py")] * 4, called("pwd", "/")]) is None


def test_arguments_too_deep_to_print_are_compared_by_the_text():
    deep: object = 0
    for _ in range(100_000):
        deep = [deep]
    call = ToolCall(id="0", name="think", arguments={"thought": deep})
    action = Action(message=Message(role="assistant", content="raw", tool_calls=(call,)))
    assert Exchange.of(action, ()).action == "raw"
