"""The page on extending TurnMix does what it says, from outside the tree: by recipe, by API, killed and resumed."""

import json
import re
import shlex
import signal
import time
from pathlib import Path

import pytest
from scaffold_in_sandbox import needs_sandbox

import turnmix as turnmix_package
from turnmix import read_run
from warm_python import run_python, run_turnmix, start_turnmix

PAGE = (Path(__file__).parents[2] / "docs" / "extend.md").read_text()
FILES = dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = [line.strip() for line in re.findall(r"^    (turnmix [^#\n]*)", PAGE, flags=re.MULTILINE)]
LONGEST = {"worlds": 75, "slips": 25, "tools": 20, "methods": 20, "rewards": 40, "teachers": 35}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extending")
    (folder / "my_agents").mkdir()
    (folder / "my_agents" / "__init__.py").touch()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def turnmix(folder, *words):
    return printed(run_turnmix(*words, cwd=folder))


def printed(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_the_page_writes_is_as_short_as_it_looks():
    assert {Path(name).stem for name in FILES} == {*LONGEST, "guessing"}
    for name, text in FILES.items():
        assert text.count("\n") <= LONGEST.get(Path(name).stem, 12), name


@needs_sandbox
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_does_what_it_says(folder, command):
    said = turnmix(folder, *shlex.split(command)[1:])
    if "doctor" in command:
        assert "plugins, my_agents" in said
    if "--explain" in command:
        assert "# The largest of them; the even ones are for training. (integer)" in said
    if "--dry-run" in command:
        assert "my_agents." in said
        assert "accidents" not in command or "kind: harmless" in said


def test_the_api_does_what_the_command_does(folder):
    (code,) = re.findall(r"## From Python\n\n```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    printed(run_python(code, cwd=folder))
    assert happened(folder / "runs" / "from-python") == happened(folder / "runs" / "guessing")


def happened(run_path):
    """All but the seconds, which are others each time."""
    return [
        (turn.actor, turn.action, turn.label, turn.observation)
        for trajectory in read_run(run_path).trajectories()
        for turn in trajectory.turns
    ]


SLIPS = """
import asyncio, json
from my_agents.slips import SlipperyNumbers
from my_agents.teachers import Halving
from turnmix.environments.environment import accident_of
from turnmix.environments.plugin_source import PluginSource
from turnmix.evaluation.evaluator import evaluation_plans, evaluation_request
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.collector import collect

source = PluginSource(SlipperyNumbers(60), name="my_agents.slips:Slippery")
accidents = Accidents(policy=accident_of(source, "harmless"), turns=(1, 1), seed=0)
found = asyncio.run(collect(evaluation_request(
    Halving().policy(),
    plans=evaluation_plans(source.tasks("train")[:4], iteration=1, seed=0, cohort_size=1),
    source=source, concurrency=1, accidents=accidents,
)))
print(json.dumps([[(turn.actor, source.step_kind(turn.action)) for turn in each.turns[:3]] for each in found]))
"""


def test_an_accident_and_kinds_of_steps_of_ones_own_are_those_of_the_trajectories(folder):
    expected = [["student", "guess"], ["accident", "guess"], ["student", "guess"]]
    assert json.loads(printed(run_python(SLIPS, cwd=folder))) == [expected] * 4


def test_a_run_of_ones_own_parts_that_is_killed_goes_on_to_the_same_end(folder):
    turnmix(folder, "train", "guessing.yaml", "iterations=2", "--run", "runs/whole")
    begun = start_turnmix("train", "guessing.yaml", "iterations=2", "--run", "runs/killed", cwd=folder)
    metrics = folder / "runs" / "killed" / "metrics.jsonl"
    until = time.monotonic() + 1500
    while not (metrics.is_file() and b"rollout" in metrics.read_bytes()):
        assert time.monotonic() < until
        time.sleep(0.02)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    turnmix(folder, "train", "--resume", "runs/killed")
    whole, killed = (folder / "runs" / name for name in ("whole", "killed"))
    weights = [path.relative_to(whole) for path in whole.glob("checkpoints/*/model.safetensors")]
    assert len(weights) == 2
    for path in weights:
        assert (whole / path).read_bytes() == (killed / path).read_bytes()
    assert happened(whole) == happened(killed)


@needs_sandbox
def test_a_reward_and_a_tool_of_ones_own_act_in_a_run(folder):
    small = [
        "iterations=1",
        "rollouts.tasks_per_iteration=1",
        "rollouts.samples_per_task=2",
        "evaluation.base=false",
    ]
    own = [
        "tasks.source=my_agents.rewards:Brief",
        "scaffold.tools=[finish, {kind: 'my_agents.tools:CountLines'}]",
    ]
    budget = ["scaffold.max_turns=2", "student.max_new_tokens=8", "evaluation.tasks=1"]
    turnmix(folder, "train", "minirepo_grpo", *small, *own, *budget, "--run", "runs/brief")
    kept = list(read_run(folder / "runs" / "brief").trajectories())
    assert {each.verdict.reward for each in kept} == {-0.01 * len(each.turns) for each in kept}
    assert {tool.name for each in kept for tool in each.tools} == {"finish", "count_lines"}


def test_nothing_in_the_package_names_what_the_page_adds():
    """What was added touches no file of TurnMix."""
    package = Path(turnmix_package.__file__).parent
    assert [path for path in package.rglob("*.py") if "my_agents" in path.read_text()] == []
