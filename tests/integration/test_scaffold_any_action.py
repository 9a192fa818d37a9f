"""Any action at all gets an observation that answers it, never an exception."""

import asyncio
from types import SimpleNamespace

import pytest
from container_runtime import make_container, needs_containers
from hypothesis import given, settings
from hypothesis import strategies as st
from scaffold_in_sandbox import WORKSPACE, needs_sandbox

from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.scaffold.scaffold import Scaffold, ScaffoldSettings
from turnmix.scaffold.stuck import Exchange, stuck_pattern

TEXT = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates and NUL included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "command",
    "path",
    "file_text",
    "old_str",
    "new_str",
    "insert_line",
    "view_range",
    "is_input",
    "thought",
)
SHELL_TEXT = st.lists(
    st.sampled_from(
        ["echo", "cat", "exit", "kill $$", "'", '"', "$(", ")", "<<E", "\n", ";", "&", "C-c", "\x04"]
    )
    | TEXT,
    max_size=5,
).map(" ".join)
PATHS = st.sampled_from(["/testbed", "/testbed/a", "a", "/dev/tty", "/proc/self/mem", "/"]) | TEXT
EDITOR_COMMANDS = st.sampled_from(["view", "create", "str_replace", "insert", "undo_edit"])
# A value may have the right form or any other; time-outs are short, for a command may really wait for them.
VALUES = {name: JSON for name in NAMES} | {
    "command": SHELL_TEXT | EDITOR_COMMANDS | JSON,
    "path": PATHS | JSON,
    "insert_line": st.integers(-1, 3) | JSON,
    "view_range": st.lists(st.integers(-2, 5), max_size=3) | JSON,
    "is_input": st.sampled_from(["true", "false"]) | JSON,
    "timeout": st.sampled_from([0.1, "0.1", 0, -1, "x", float("nan"), float("inf"), None, [], 10**400]),
}
ARGUMENTS = st.fixed_dictionaries({}, optional=VALUES) | st.dictionaries(TEXT, JSON, max_size=2) | JSON
TOOLS = st.sampled_from(["execute_bash", "str_replace_editor", "think", "finish"])
CALLS = st.lists(st.builds(ToolCall, id=TEXT, name=TOOLS | TEXT, arguments=ARGUMENTS), max_size=3).map(tuple)
MESSAGES = st.builds(Message, role=st.just("assistant"), content=TEXT, tool_calls=CALLS)
ACTIONS = st.builds(Action, message=MESSAGES, parse_error=st.none() | TEXT)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(BubblewrapSandbox, id="bubblewrap", marks=needs_sandbox),
        pytest.param(make_container, id="container", marks=needs_containers),
    ],
)
def world(request):
    loop = asyncio.new_event_loop()
    sandbox = request.param()
    loop.run_until_complete(sandbox.start())
    quick = ScaffoldSettings(no_output_seconds=0.02, hard_timeout_seconds=0.2)
    scaffold = Scaffold(settings=quick, sandbox=sandbox, working_directory=WORKSPACE)
    yield SimpleNamespace(
        execute=lambda action: loop.run_until_complete(asyncio.wait_for(scaffold.execute(action), 300))
    )
    loop.run_until_complete(scaffold.close())
    loop.run_until_complete(sandbox.stop())
    loop.close()


@settings(max_examples=250, deadline=None)
@given(action=ACTIONS)
def test_every_action_is_answered_call_by_call(world, action):
    observation = world.execute(action).observation
    calls = action.message.tool_calls
    if calls:
        assert [message.tool_call_id for message in observation] == [call.id for call in calls]
        assert all(message.role == "tool" for message in observation)
    else:
        assert [message.role for message in observation] == ["user"]
    for message in observation:
        assert message.content
        message.content.encode()  # no lone surrogate
    assert stuck_pattern([Exchange.of(action, observation)] * 4) is not None


def test_arguments_of_any_depth_are_answered(world):
    deep: object = 0
    for _ in range(100_000):
        deep = [deep]
    for name in ("command", "path", "view_range", "unknown"):
        call = ToolCall(id="0", name="str_replace_editor", arguments={name: deep})
        (message,) = world.execute(
            Action(message=Message(role="assistant", content="", tool_calls=(call,)))
        ).observation
        assert message.content.startswith("ERROR: ")
