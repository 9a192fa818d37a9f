"""The small conversations on which a chat template is tried before any work starts.

They hold what templates are known to get wrong: arguments as objects and not as JSON text, quotes, newlines
and letters beyond ASCII in them, several calls in one turn, several tool answers in a row, a turn without
content, a turn without a call, and a user who speaks again.
"""

from __future__ import annotations

from dataclasses import dataclass

from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import State

WORD = "turnmix-probe"
FIRST_ANSWER, SECOND_ANSWER = "1 line of turnmix", "2 lines of turnmix"
TOOL = ToolSpecification(
    name="probe_tool",
    description="Look at a file.",
    parameters={
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "line": {"type": "integer"},
            "lines": {"type": "array", "items": {"type": "integer"}},
            "deep": {"type": "boolean"},
            "options": {"type": "object"},
        },
        "required": ["path"],
    },
)


def _call(number: int, **arguments: object) -> ToolCall:
    return ToolCall(id=f"call_{number}", name=TOOL.name, arguments=arguments)


def _state(*messages: Message, tools: tuple[ToolSpecification, ...] = (TOOL,)) -> State:
    prompt = (
        Message(role="system", content="You repair programs."),
        Message(role="user", content="Repair it."),
    )
    return State(messages=(*prompt, *messages), tools=tools)


ONE_CALL = Message(role="assistant", content="", tool_calls=(_call(0, path="a"),))
BEGINNING = _state()
AFTER_ONE_ANSWER = _state(ONE_CALL, Message(role="tool", content=FIRST_ANSWER, tool_call_id="call_0"))
AFTER_TWO_ANSWERS = _state(
    Message(role="assistant", content="Two.", tool_calls=(_call(0, path="a"), _call(1, path="b"))),
    Message(role="tool", content=FIRST_ANSWER, tool_call_id="call_0"),
    Message(role="tool", content=SECOND_ANSWER, tool_call_id="call_1"),
)
AFTER_A_USER = _state(
    *AFTER_ONE_ANSWER.messages[2:],
    Message(role="assistant", content="I am done."),
    Message(role="user", content="Please call a tool."),
)
STATES = (BEGINNING, AFTER_ONE_ANSWER, AFTER_TWO_ANSWERS, AFTER_A_USER)

TURNS = (
    Message(
        role="assistant",
        content="I look.",
        tool_calls=(
            _call(
                0,
                path='a "b"\n  <c>\\n é\n',
                line=3,
                lines=[1, 20],
                deep=True,
                options={"d": [None, {"e": "ü"}]},
            ),
        ),
    ),
    Message(
        role="assistant", content="Both.", tool_calls=(_call(0, path="a"), _call(1, path="b", deep=False))
    ),
    ONE_CALL,
    Message(role="assistant", content="Done."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversations:
    """What one way of calling tools is tried on."""

    after_an_answer: State
    states: tuple[State, ...]
    turns: tuple[Message, ...]


NATIVE = Conversations(after_an_answer=AFTER_ONE_ANSWER, states=STATES, turns=TURNS)
_WRITTEN = (
    'I look.\n<tool_call>\n{"name": "probe_tool", "arguments": {"path": "a \\"b\\" <c> é"}}\n</tool_call>'
)
_TEXT_ANSWERED = _state(
    Message(role="assistant", content=_WRITTEN), Message(role="user", content=FIRST_ANSWER), tools=()
)
TEXT = Conversations(
    after_an_answer=_TEXT_ANSWERED,
    states=(_state(tools=()), _TEXT_ANSWERED),
    turns=(Message(role="assistant", content=_WRITTEN), Message(role="assistant", content="Done.")),
)
"""Calls and answers are plain text: of a model that knows no tools nothing else is asked."""
