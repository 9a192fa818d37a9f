"""Tools, a user's own and the built-in ones: how a recipe names them, what agents are told, what becomes of faults."""

import asyncio
import json
import sys
import textwrap
import time

import pytest

from chat_models import HERMES_TEMPLATE, make_tokenizer
from turnmix.core.errors import RecipeError, SandboxError, UserError
from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.tool_fault import ToolFault
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.evaluation.evaluator import summarise
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.rendering.check import check_tools
from turnmix.rendering.renderer import Renderer
from turnmix.scaffold.scaffold import Scaffold, ScaffoldSettings
from turnmix.store.records import EvaluationFigures
from turnmix.store.trajectory_records import TrajectoryRecord
from turnmix.viewing.run_warnings import tool_fault_warnings

DICE = '''
"""A tool in 15 lines."""
from typing import Annotated

from pydantic import Field

from turnmix.scaffold.tool import Tool


class RollDice(Tool):
    """Roll dice."""

    sides: int = Field(default=6, ge=2)
    """Sides of each die."""
    _rolled: int = 0

    def call(self, times: Annotated[int, Field(ge=1, description="How many.")] = 1) -> str:
        self._rolled += times
        return f"{self._rolled} rolled, of {self.sides} sides, in {self.parts.working_directory}"
'''

FAULTY = '''
import asyncio, time
from turnmix.core.errors import SandboxError
from turnmix.scaffold.observation import error
from turnmix.scaffold.tool import Tool


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError


class Faulty(Tool):
    """Fail."""

    async def call(self, way: str):
        if way == "raise":
            raise KeyError("no key")
        if way == "exit":
            raise SystemExit(3)
        if way == "cancel":
            raise asyncio.CancelledError
        if way == "time":
            raise asyncio.TimeoutError
        if way == "unprintable":
            raise Unprintable
        if way == "path":
            open("/home/somebody/secret/key.txt")
        if way == "lines":
            raise ValueError("first\\nsecond /root/x")
        if way == "hang":
            await asyncio.sleep(1000)
        if way == "stay":
            while True:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    pass
        if way == "sandbox":
            raise SandboxError("it died")
        return error("Say how.")

    async def close(self):
        raise RuntimeError("not freed")


class Plain(Tool):
    """Answer in some way."""

    ends_trajectory = True

    def call(self, way: str):
        if way == "sleep":
            time.sleep(1000)
        if way == "coroutine":
            return asyncio.sleep(0, result="slept")
        return {
            "none": None,
            "empty": "",
            "bytes": b"caf\\xc3\\xa9 \\xff",
            "dict": {"a": (1, {2}), "b": b"x", "c": float("nan")},
            "surrogate": "a\\ud800b",
            "control": "a\\x00b\\x1b[31mc\\r\\nd",
            "large": "x" * 100_000_000,
            "object": Plain,
            "endless": iter(int, 1),
        }[way]
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A directory to start from, in which modules of the user's lie."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(text, name="my_tools"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def scaffold(*tools, **settings):
    return Scaffold(
        settings=ScaffoldSettings(tools=tools, **settings), sandbox=None, working_directory="/testbed"
    )


def executed(world, name, **arguments):
    calls = (ToolCall(id="call_0", name=name, arguments=arguments),)
    action = Action(message=Message(role="assistant", content="", tool_calls=calls))
    answer = asyncio.run(world.execute(action))
    return answer, answer.observation[0].content


def test_agents_are_told_of_the_built_in_tools_as_ever():
    told = [tool.specification.to_json()["function"] for tool in ScaffoldSettings().tools]
    assert json.dumps(told[0]) == (
        '{"name": "execute_bash", "description": "Run a command in a persistent shell. is_input \'true\' types into '
        'the running command: text, C-c, C-d or C-z.", "parameters": {"type": "object", "properties": {"command": '
        '{"type": "string"}, "is_input": {"type": "string", "enum": ["true", "false"]}, "timeout": {"type": "number", '
        '"description": "Seconds."}}, "required": ["command"]}}'
    )
    assert json.dumps(told[1]["parameters"]) == (
        '{"type": "object", "properties": {"command": {"type": "string", "enum": ["view", "create", "str_replace", '
        '"insert", "undo_edit"]}, "path": {"type": "string", "description": "Absolute path."}, "file_text": {"type": '
        '"string"}, "old_str": {"type": "string"}, "new_str": {"type": "string"}, "insert_line": {"type": "integer"}, '
        '"view_range": {"type": "array", "items": {"type": "integer"}, "description": "[first, last]; -1: the end."}}, '
        '"required": ["command", "path"]}'
    )
    assert json.dumps(told[2:]) == (
        '[{"name": "think", "description": "Write down a thought. Changes nothing.", "parameters": {"type": "object", '
        '"properties": {"thought": {"type": "string"}}, "required": ["thought"]}}, {"name": "finish", "description": '
        '"Submit your work and end. Call it when the task is done.", "parameters": {"type": "object", "properties": '
        '{"message": {"type": "string"}}, "required": ["message"]}}]'
    )


def test_a_tool_of_the_users_own_is_told_called_and_keeps_its_state_for_one_trajectory(own):
    own(DICE)
    world, other = (scaffold("think", {"kind": "my_tools:RollDice", "sides": 20}) for _ in range(2))
    told = world.specifications[1].to_json()["function"]
    assert (told["name"], told["description"]) == ("roll_dice", "Roll dice.")
    assert told["parameters"]["properties"]["times"]["description"] == "How many."
    assert executed(world, "roll_dice", times="2")[1] == "2 rolled, of 20 sides, in /testbed"
    assert executed(world, "roll_dice")[1] == "3 rolled, of 20 sides, in /testbed"
    assert executed(other, "roll_dice")[1] == "1 rolled, of 20 sides, in /testbed"
    assert executed(world, "roll_dice", times=0)[1] == (
        "ERROR: Argument `times` must be greater than or equal to 1.\nExpected: roll_dice([times])"
    )


def test_a_recipe_keeps_the_settings_of_a_tool_and_is_read_back_equal(own, tmp_path):
    own(DICE)
    path = tmp_path / "one.yaml"
    path.write_text("method: sft\nscaffold: {tools: [finish, {kind: 'my_tools:RollDice', sides: 20}]}\n")
    recipe = load_recipe(str(path))
    text = recipe_yaml(recipe)
    assert "tools: [finish, {kind: 'my_tools:RollDice', sides: 20}]" in text.replace("\n   ", "")
    path.write_text(text)
    assert load_recipe(str(path)) == recipe
    assert load_recipe(str(path), ["scaffold.tools=my_tools:RollDice"]).scaffold.tools[0].sides == 6


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("tools: [bash]", "scaffold.tools.0: 'bash': "),
        ("tools: [{kind: 'my_tools:RollDice', sides: 1}]", "scaffold.tools.0.sides: 1: "),
        ("tools: [{kind: 'my_tools:RollDice', side: 1}]", "scaffold.tools.0.side: "),
        ("tools: ['my_tools:RollDice', {kind: 'my_tools:RollDice', sides: 2}]", "two tools roll_dice"),
        ("tools: ['my_tools:Missing']", "there is no Missing in my_tools.py"),
        ("tools: ['my_tools:Annotated']", "subclass of turnmix.scaffold.tool.Tool"),
        ("tools: []", "scaffold.tools: []: name at least one tool"),
    ],
)
def test_a_mistake_in_naming_tools_is_told_before_the_run(own, tmp_path, code, complaint):
    own(DICE)
    path = tmp_path / "one.yaml"
    path.write_text(f"method: sft\nscaffold: {{{code}}}\n")
    with pytest.raises(UserError) as wrong:
        load_recipe(str(path))
    assert complaint in str(wrong.value)
    assert len(wrong.value.lines) == 1


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (
            "    name = 'look up'\n    async def call(self): ...",
            "the tool's name is 'look up': use 1 to 64 letters",
        ),
        ("    def call(self, word): ...", "parameter word without an annotation: write word: str"),
        ("    def call(self, *words: str): ...", "call has the parameter *words: str: write each argument"),
        ("    def call(self, word: 'Missing'): ...", "an annotation of call cannot be read: name 'Missing'"),
        ("    def call(self, word: asyncio.Event): ...", "the parameter word that JSON cannot say: "),
        ("    @staticmethod\n    def call(word: str): ...", "its call is no method: write def call(self, …)"),
        ("    pass", "it has no call of its own"),
    ],
)
def test_a_tool_that_cannot_be_told_to_an_agent_is_refused_before_the_run(own, tmp_path, body, complaint):
    own(
        f'import asyncio\nfrom turnmix.scaffold.tool import Tool\nclass LookUp(Tool):\n    """Look up."""\n{body}\n'
    )
    path = tmp_path / "one.yaml"
    path.write_text("method: sft\nscaffold: {tools: ['my_tools:LookUp']}\n")
    with pytest.raises(UserError) as wrong:
        load_recipe(str(path))
    assert complaint in str(wrong.value)
    assert "scaffold.tools" in str(wrong.value)
    assert len(wrong.value.lines) == 1


def test_a_tool_without_a_description_or_with_the_name_of_another_is_refused(own):
    own("from turnmix.scaffold.tool import Tool\nclass Other(Tool):\n    async def call(self): ...\n")
    with pytest.raises(
        UserError, match=r"my_tools.py:2 .*: the tool other has no description: write a docstring"
    ):
        scaffold("my_tools:Other")
    own(
        """
        from turnmix.scaffold.tool import Tool
        class Other(Tool):
            '''Think.'''
            name = "think"
            async def call(self): ...
        """,
        "my_clash",
    )
    with pytest.raises(ValueError, match="two tools think of think and my_clash:Other"):
        scaffold("think", "my_clash:Other")


@pytest.mark.parametrize(
    ("way", "told", "counted"),
    [
        ("raise", "KeyError: 'no key'", "KeyError: 'no key'"),
        ("exit", "SystemExit: 3", "SystemExit: 3"),
        ("cancel", "CancelledError", "CancelledError"),
        ("time", "TimeoutError", "TimeoutError"),
        ("unprintable", "Unprintable", "Unprintable"),
        ("path", "FileNotFoundError: [Errno 2] No such file or directory: 'key.txt'", "FileNotFoundError"),
        ("lines", "ValueError: first", "ValueError: first second /root/x"),
        ("hang", "it gave no answer within 0.1 seconds", "ToolTimeout"),
    ],
)
def test_a_tool_that_fails_is_told_to_the_agent_and_counted_with_its_file_and_line(own, way, told, counted):
    own(FAULTY)
    seconds = 0.1 if way == "hang" else 300
    answer, content = executed(scaffold("my_tools:Faulty", hard_timeout_seconds=seconds), "faulty", way=way)
    assert content == f"ERROR: The tool faulty failed: {told}"
    (fault,) = answer.tool_faults
    assert fault.tool == "faulty"
    assert fault.place.startswith("my_tools.py:") or way == "unprintable"
    assert fault.place.endswith("(my_tools:Faulty)")
    assert fault.error.startswith(counted)
    assert not answer.is_finished


def test_a_call_that_will_not_stop_is_left_behind(own, monkeypatch):
    own(FAULTY)
    monkeypatch.setattr("turnmix.scaffold.tool_call.GRACE_SECONDS", 0.1)
    world = scaffold("my_tools:Faulty", "my_tools:Plain", hard_timeout_seconds=0.1)

    async def both():
        answers = []
        for name, way in (("faulty", "stay"), ("plain", "sleep")):
            call = ToolCall(id="call_0", name=name, arguments={"way": way})
            action = Action(message=Message(role="assistant", content="", tool_calls=(call,)))
            answers.append(await world.execute(action))
        return answers

    began = time.monotonic()
    loop = asyncio.new_event_loop()
    answers = loop.run_until_complete(both())  # not run: that waits for every task
    assert time.monotonic() - began < 900
    assert [answer.tool_faults[0].error.partition(":")[0] for answer in answers] == ["ToolTimeout"] * 2


def test_an_infrastructure_error_passes_and_a_refusal_is_no_fault(own):
    own(FAULTY)
    world = scaffold("my_tools:Faulty")
    with pytest.raises(SandboxError, match="it died"):
        executed(world, "faulty", way="sandbox")
    answer, content = executed(world, "faulty", way="refuse")
    assert (content, answer.tool_faults) == ("ERROR: Say how.", ())
    asyncio.run(world.close())  # what fails in freeing bears on nothing


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        ("none", "[No output.]"),
        ("empty", "[No output.]"),
        ("bytes", "café \ufffd"),
        ("dict", '{"a": [1, [2]], "b": "eA==", "c": null}'),
        ("surrogate", "a\ufffdb"),
        ("control", "abc\nd"),
        ("large", "x" * 100 + "\n[... 99999800 characters left out ...]\n" + "x" * 100),
        ("object", "\"<class 'my_tools.Plain'>\""),
        ("coroutine", "slept"),
    ],
)
def test_what_a_tool_returns_becomes_printable_text_of_a_bounded_length(own, way, shown):
    own(FAULTY)
    answer, content = executed(scaffold("my_tools:Plain", max_observation_characters=200), "plain", way=way)
    assert content == shown
    assert (answer.is_finished, answer.tool_faults) == (True, ())


def test_an_iterator_without_end_is_named(own):
    own(FAULTY)
    assert "iterator" in executed(scaffold("my_tools:Plain"), "plain", way="endless")[1]


def test_a_found_recipe_imports_no_tool(own, tmp_path):
    own("raise SystemExit('imported')")
    from turnmix.core.doors import IMPORTED

    settings = ScaffoldSettings.model_validate(
        {"tools": ["think", {"kind": "my_tools:Other", "depth": 2}]}, context={IMPORTED: ()}
    )
    assert settings.model_dump(mode="json")["tools"] == ["think", {"kind": "my_tools:Other", "depth": 2}]
    assert "my_tools" not in sys.modules
    with pytest.raises(UserError, match="imported"):
        ScaffoldSettings(tools=("my_tools:Other",))


FAULT = ToolFault(tool="look", place="my_tools.py:3 (my_tools:Look)", error="KeyError: 'x'")


def faulty_trajectory(faults):
    turn = Turn(
        actor="student",
        action=Action(message=Message(role="assistant", content="I look.")),
        observation=(Message(role="user", content="ERROR"),),
        tool_faults=faults,
    )
    return Trajectory(
        id="t",
        task_id="t",
        iteration=1,
        seed=0,
        tools=(),
        prompt=(),
        turns=(turn, turn),
        stop_reason=StopReason.infra_error,
        verdict=None,
    )


def test_faults_of_tools_are_stored_counted_and_told_at_the_end_of_a_run():
    trajectory = faulty_trajectory((FAULT, FAULT))
    data = trajectory.to_json()
    TrajectoryRecord.model_validate(data)
    assert Trajectory.from_json(json.loads(json.dumps(data))) == trajectory
    assert "tool_faults" not in json.dumps(faulty_trajectory(()).to_json())
    figures = summarise([trajectory, trajectory]).to_json()
    EvaluationFigures.model_validate(figures)
    assert figures["tool_faults"] == [{**FAULT.to_json(), "count": 8}]
    assert tool_fault_warnings([figures, figures, {}]) == [
        f"the tool look failed in 16 calls, at {FAULT.place}: KeyError: 'x'; agents were told, and went on"
    ]
    assert "tool_faults" not in summarise([faulty_trajectory(())]).to_json()


def test_a_recipe_that_came_with_somebodys_run_names_no_tool_of_its_own_accord(own, tmp_path):
    own("raise SystemExit('imported')")
    run = tmp_path / "run"
    run.mkdir()
    (run / "versions.json").write_text("{}")
    (run / "recipe.yaml").write_text("method: sft\nscaffold: {tools: [finish, 'my_tools:RollDice']}\n")
    with pytest.raises(
        RecipeError, match=r"scaffold.tools: names code .* 'scaffold.tools=\[.*my_tools:RollDice"
    ):
        load_recipe(str(run / "recipe.yaml"))
    assert "my_tools" not in sys.modules
    own(DICE)
    said = ["scaffold.tools=[finish, 'my_tools:RollDice']"]
    assert load_recipe(str(run / "recipe.yaml"), said).scaffold.tools[1].sides == 6


def test_a_template_that_cannot_show_a_tool_is_refused_before_the_run():
    tool = ToolSpecification(
        name="look", description="Look.", parameters={"type": "object", "properties": {}}
    )
    renderer = Renderer(make_tokenizer(HERMES_TEMPLATE))
    check_tools(renderer, (tool,))
    silent = HERMES_TEMPLATE.replace(
        "tool | tojson", "'edit a file' if tool.function.name == 'look' else tool | tojson"
    )
    assert silent != HERMES_TEMPLATE
    with pytest.raises(UserError, match="cannot show the tool look: it leaves it out; annotate its call"):
        check_tools(Renderer(make_tokenizer(silent)), (tool,))
