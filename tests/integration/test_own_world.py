"""A world of words, written outside the package: it trains, is looked at, examined, gone on with, and fails plainly."""

import json
import shutil
import sys

import pytest
import yaml
from scaffold_in_sandbox import needs_sandbox
from strangers import turnmix

WORLD = '''
from pydantic import Field

from turnmix.core.errors import UserError
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Step, TaskSettings
from turnmix.policies.scripted import ScriptedPolicy, text_action

FAULT = None


class Words(TaskSettings):
    """Words to be repeated."""

    size: int = Field(default=3, ge=1)
    """Letters of each word."""
    note: str = ""
    """Said before each word."""

    def make(self, parts):
        return WordSource(self)

    def check(self):
        if self.size > 20:
            raise UserError(f"tasks.size: {self.size}: nobody repeats such words: set it to 20 or less")


class WordSource:
    def __init__(self, settings):
        self.settings = settings

    def tasks(self, split):
        letters = "abcd" if split == "train" else "xy"
        return [Task(id=letter, problem_statement=letter * self.settings.size) for letter in letters]

    def environment(self, task):
        return World(task)

    def expert(self):
        return ScriptedPolicy.of_actions("teacher", [text_action("done")])


class World:
    def __init__(self, task):
        self.task = task

    async def reset(self):
        if FAULT == "reset":
            raise KeyError("no such word")
        if FAULT == "exit":
            raise SystemExit("out")
        return State(messages=(Message(role="user", content=self.task.problem_statement),), tools=())

    async def step(self, action):
        if FAULT == "step":
            return None
        self.said = len(action.message.content or "")
        if FAULT == "observation":
            return Step(observation="done", stop_reason=StopReason.finished)
        return Step(observation=(), stop_reason=StopReason.finished)

    async def verify(self, stop_reason):
        if FAULT == "verify":
            [][0]
        if FAULT == "verdict":
            return Verdict(resolved=1)
        return Verdict(resolved=True, reward=REWARDS.get(FAULT, float)(self.said))

    async def close(self):
        pass


REWARDS = {"nan": lambda said: float("nan"), "text": lambda said: f"{said} letters"}
'''
RECIPE = """
method: dagger
iterations: 1
tasks: {source: "my_world:Words", size: 5}
student: {model: nano-student, cohort_size: 2, max_new_tokens: 8}
rollouts: {tasks_per_iteration: 2, concurrency: 2, attempts: 1}
evaluation: {tasks: 2, base: false}
sandbox: {kind: container, container: {socket: "unix:///nowhere.sock"}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Beside the world; nothing of it stays imported."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_world.py").write_text(WORLD)
    (tmp_path / "words.yaml").write_text(RECIPE)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name in ("my_world", "my_box"):
            del sys.modules[name]


def forget():
    """As a new process begins: nothing of the user's is imported."""
    sys.modules.pop("my_world", None)


def test_a_world_without_sandbox_trains_where_no_sandbox_can_be_made_and_is_noted_in_its_run(here, capsys):
    code, said = turnmix(capsys, "train", "words.yaml", "--run", "run")
    assert code == 0, said
    noted = json.loads((here / "run" / "versions.json").read_text())["plugins"]
    assert noted["my_world"].startswith("sha256:")
    assert json.loads((here / "run" / "summary.json").read_text())["iterations"][0]["resolved"] == 2

    # To look at it, nothing of it is needed, and nothing of it is imported.
    forget()
    (here / "my_world.py").rename(here / "elsewhere.py")
    code, said = turnmix(capsys, "show", "run", "e001-00000")
    assert code == 0, said
    assert "my_world" not in sys.modules
    (here / "elsewhere.py").rename(here / "my_world.py")

    # Gone on with, it tells what changed meanwhile.
    (here / "run" / "summary.json").unlink()
    with (here / "my_world.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    code, said = turnmix(capsys, "train", "--resume", "run")
    assert code == 0, said
    assert f"note: the plugin my_world was {noted['my_world']}, is sha256:" in said


def test_the_command_line_names_a_world_lists_its_tasks_examines_it_and_shows_its_settings(here, capsys):
    words = ["minirepo_dagger", "tasks.source=my_world:Words", "tasks.size=4"]
    code, said = turnmix(capsys, "train", *words, "--dry-run")
    assert code == 0
    assert "tasks:\n  source: my_world:Words\n  size: 4\n  note: ''\n" in said
    code, said = turnmix(capsys, "train", *words, "--explain")
    assert "# Letters of each word. (integer ≥ 1)\n  size: 4\n" in said
    code, said = turnmix(capsys, "tasks", *words)
    assert "train: 4 tasks\n  a  aaaa\n" in said
    code, said = turnmix(capsys, "doctor", *words)
    assert "plugins, my_world:Words: of my_world, sha256:" in said
    assert "tasks: 4 to train on, 2 held out" in said
    assert "tools: these tasks bring their own" in said
    assert "execute_bash" not in said
    assert "sandbox, runtime: these tasks need none" in said
    code, said = turnmix(capsys, "doctor", "words.yaml", "tasks.size=21")
    assert code == 1
    assert "tasks.size: 21: nobody repeats such words: set it to 20 or less" in said


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("reset", "my_world.py:52 (my_world:Words): KeyError: 'no such word'"),
        (
            "observation",
            "my_world.py:62 (my_world:Words): ValueError: Step.observation: 'done': give a tuple",
        ),
        ("verdict", "my_world.py:69 (my_world:Words): ValueError: Verdict.resolved: 1: give True or False"),
        ("step", "my_world:Words: step(action) returned None: return a Step"),
        ("exit", "my_world.py:54 (my_world:Words): SystemExit: out"),
        ("verify", "my_world.py:67 (my_world:Words): IndexError: list index out of range"),
        (
            "nan",
            "my_world.py:70 (my_world:Words): ValueError: reward: nan in a verdict; give a finite number",
        ),
        ("text", "my_world.py:70 (my_world:Words): ValueError: reward: '"),
    ],
)
def test_a_world_that_fails_stops_the_run_with_one_line_of_its_own_and_is_gone_on_with_when_mended(
    here, capsys, fault, told
):
    (here / "my_world.py").write_text(WORLD.replace("FAULT = None", f'FAULT = "{fault}"'))
    code, said = turnmix(capsys, "train", "words.yaml", "--run", "run")
    assert code == 1
    assert told in said
    assert "Traceback" not in said
    forget()
    (here / "my_world.py").write_text(WORLD)
    code, said = turnmix(capsys, "train", "--resume", "run")
    assert code == 0, said
    assert json.loads((here / "run" / "summary.json").read_text())["iterations"][0]["resolved"] == 2


@pytest.mark.parametrize(
    ("written", "instead", "told"),
    [
        ("return [Task(", "return iter([Task(", "tasks('train') returned <list_iterator"),
        (
            "return World(task)",
            "return None",
            "environment(task) returned None, which has no reset: return an Env",
        ),
        ("return ScriptedPolicy.of_actions(", "return (", "expert() returned ('teacher', "),
    ],
)
def test_what_a_source_gives_that_is_none_is_told_by_what_it_should_be(here, capsys, written, instead, told):
    text = WORLD.replace(written, instead)
    if "iter(" in instead:
        text = text.replace("for letter in letters]", "for letter in letters])")
    (here / "my_world.py").write_text(text)
    code, said = turnmix(capsys, "train", "words.yaml", "--run", "run")
    assert (code, f"turnmix: my_world:Words: {told}" in said) == (1, True), said


def test_grpo_learns_from_the_rewards_that_a_world_gives_though_all_is_resolved(here, capsys):
    code, said = turnmix(
        capsys, "train", "words.yaml", "method=grpo", "rollouts.samples_per_task=4", "--run", "run"
    )
    assert code == 0, said
    (row,) = json.loads((here / "run" / "summary.json").read_text())["iterations"]
    assert (row["rollouts"], row["resolved"]) == (8, 8)
    assert row["objective"]["groups_without_spread"] < row["objective"]["groups"] == 2
    assert row["labels"] > 0


def test_what_is_wrong_with_a_world_is_told_before_any_directory_is_made(here, capsys):
    for change, told in (
        ("tasks.source=no_world:Words", "there is no module 'no_world'"),
        ("tasks.size=0", "tasks.size: 0: must be greater than or equal to 1"),
        ("tasks.size=30", "tasks.size: 30: nobody repeats such words"),
    ):
        code, said = turnmix(capsys, "train", "words.yaml", change, "--run", "run")
        assert (code, told in said) == (2, True), said
    (here / "my_world.py").write_text(WORLD.replace('"abcd"', '""'))
    forget()
    code, said = turnmix(capsys, "train", "words.yaml", "--run", "run")
    assert "tasks.source: 'my_world:Words': it has no train task to train on" in said
    assert not (here / "run").exists()


def test_a_found_run_imports_no_world_unless_the_command_line_repeats_it(here, capsys):
    assert turnmix(capsys, "train", "words.yaml", "tasks.note=hush", "--run", "run")[0] == 0
    shutil.copytree("run", "found")
    (here / "found" / "summary.json").unlink()
    for command in (["train", "--resume", "found"], ["evaluate", "found"], ["tasks", "found/recipe.yaml"]):
        forget()
        code, said = turnmix(capsys, *command)
        assert code == 2, said
        assert "tasks.source=my_world:Words" in said
        assert (
            "tasks.note: is told to code of somebody's; say it again, or otherwise: tasks.note=hush" in said
        )
        assert "my_world" not in sys.modules
    assert turnmix(capsys, "show", "found")[0] == 0
    assert "my_world" not in sys.modules
    repeated = [
        "tasks.source=my_world:Words",
        "tasks.note=hush",
        "sandbox.container.socket=unix:///nowhere.sock",
    ]
    code, said = turnmix(capsys, "train", "--resume", "found", *repeated)
    assert code == 0, said


def test_a_found_run_imports_nothing_through_any_door(here, capsys):
    assert turnmix(capsys, "train", "words.yaml", "--run", "run")[0] == 0
    stored = (here / "run" / "recipe.yaml").read_text()
    (here / "spy.py").write_text("raise SystemExit('imported')")
    for setting, section in {
        "method": "method: spy:Name",
        "tasks.source": "tasks: {source: 'spy:Name'}",
        "sandbox.kind": "sandbox: {kind: 'spy:Name'}",
        "scaffold.tools": "scaffold: {tools: [finish, {kind: 'spy:Name'}]}",
        "teacher.kind": "teacher: {kind: 'spy:Name'}",
        "mixture.kind": "mixture: {kind: 'spy:Name'}",
        "objective.kind": "objective: {kind: 'spy:Name'}",
        "data.filter": "data: {filter: 'spy:Name'}",
        "trackers": "trackers: ['spy:Name']",
    }.items():
        found = here / setting
        shutil.copytree("run", found)
        recipe = {**yaml.safe_load(stored), "tasks": {"source": "minirepo"}, **yaml.safe_load(section)}
        (found / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        (found / "summary.json").unlink()
        code, said = turnmix(capsys, "train", "--resume", found)
        assert (code, f"  {setting}: " in said, "imported" in said) == (2, True, False), said
        assert turnmix(capsys, "show", found)[0] == 0


BOX = '''
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.settings import NO_NEEDS, SandboxSettings


class Box(SandboxSettings):
    """A box of our own."""

    lid: str = "closed"
    """Where it is ajar, it does not hold."""

    def make(self, needs=NO_NEEDS):
        return OpenBox() if self.lid == "ajar" else BubblewrapSandbox()


class OpenBox(BubblewrapSandbox):
    async def start(self):
        {}["lid"]
'''


@needs_sandbox
def test_a_sandbox_of_ones_own_holds_a_task_and_one_that_fails_is_told(here, capsys):
    (here / "my_box.py").write_text(BOX)
    words = ["teacher", "minirepo_dagger", "sandbox.kind=my_box:Box", "evaluation.tasks=1", "tasks.holdout=1"]
    code, said = turnmix(capsys, "evaluate", *words, "--output", "held")
    assert code == 0, said
    assert json.loads((here / "held" / "results.json").read_text())["resolved"] == 1, said
    code, said = turnmix(capsys, "evaluate", *words, "sandbox.lid=ajar", "--output", "open")
    assert code == 1
    assert "my_box.py:18 (my_box:Box): KeyError: 'lid'" in said
