"""A run whose rollouts and evaluations are a scaffold's of the user's own: trained, killed, resumed."""

import json
import time

import pytest
from stored_trajectories import trajectories

from own_scaffolds import AGENT
from process_table import is_running
from turnmix.cli import main
from warm_python import run_turnmix, start_turnmix

RECIPE = """\
method: dagger
iterations: 1
tasks: {train: 40, holdout: 8}
student: {model: nano-student, cohort_size: 2, max_new_tokens: 16}
scaffold: {max_turns: 4}
mixture: {decay: 0.5, floor: 0.5, start: 0.5}
rollouts: {tasks_per_iteration: 2, concurrency: 2, scaffold: {command: COMMAND, where: outside, files: FILES}}
data: {filter: all}
learner: {learning_rate: 1.0e-3, epochs: 1, batch_size: 2}
evaluation: {tasks: 1, base: false}
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "agent.py").write_text(AGENT)
    pids = tmp_path / "pids"
    line = f"echo $$ >> {pids}; OUTSIDE=1 python3 $TURNMIX_FILES/agent.py"
    text = RECIPE.replace("COMMAND", json.dumps(line)).replace("FILES", str(tmp_path / "agent"))
    (tmp_path / "outside.yaml").write_text(text)
    return tmp_path


def pids_in(folder):
    path = folder / "pids"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def logs(run):
    return [trajectories(run / name) for name in ("trajectories.jsonl", "evaluations.jsonl")]


def test_a_run_killed_amid_a_scaffolds_rollouts_leaves_nothing_running_and_goes_on_to_the_same_end(
    recipe, capsys
):
    whole = run_turnmix("train", "outside.yaml", "--run", "whole", cwd=recipe)
    assert whole.returncode == 0, whole.stderr
    expected = logs(recipe / "whole")
    assert {turn["actor"] for each in expected[0].values() for turn in each["turns"]} == {
        "student",
        "teacher",
    }
    assert {turn["actor"] for each in expected[1].values() for turn in each["turns"]} == {"student"}

    assert main(["show", str(recipe / "whole"), "i001-00000"]) == 0
    shown = "".join(capsys.readouterr().out.split())
    assert f"Whatitsscaffoldprinted:{recipe}/whole/scaffold-logs/i001-00000.log" in shown

    (recipe / "pids").unlink()
    with (recipe / "log").open("wb") as log:
        process = start_turnmix("train", "outside.yaml", "--run", "killed", cwd=recipe, stderr=log)
    while not pids_in(recipe):
        assert process.poll() is None, (recipe / "log").read_text()
        time.sleep(0.02)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 300
    while alive := [pid for pid in pids_in(recipe) if is_running(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    resumed = run_turnmix("train", "--resume", "killed", cwd=recipe)
    assert resumed.returncode == 0, resumed.stderr
    assert logs(recipe / "killed") == expected
    weights = [recipe / run / "checkpoints/iteration-001/model.safetensors" for run in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()

    evaluated = run_turnmix("evaluate", "whole", "--output", "again", cwd=recipe)
    assert evaluated.returncode == 0, evaluated.stderr
    assert len(list((recipe / "again" / "scaffold-logs").iterdir())) == 1
