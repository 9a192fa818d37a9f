"""A sweep of real runs: killed and gone on with, one run failing beside the others, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from scaffold_in_sandbox import needs_sandbox

import turnmix
from process_table import is_running
from strict_environment import strict_environment

pytestmark = needs_sandbox
# Tests that run in the background of a shell have SIGINT ignored.
MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from turnmix.cli import main; sys.exit(main())"
)
COMPARISON = {
    "name": "tiny",
    "recipe": "minirepo",
    "overrides": [
        *(
            "iterations=1",
            "rollouts.tasks_per_iteration=1",
            "scaffold.max_turns=2",
            "student.max_new_tokens=4",
        ),
        *("learner.epochs=1", "evaluation.tasks=1", "evaluation.base=false", "data.filter=all"),
    ],
    "arms": {"sft": ["method=sft"], "dagger": ["method=dagger"]},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(COMPARISON))
    return tmp_path


def sweeping(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "sweep", "tiny.yaml", "--output", "out", *words],
        cwd=folder,
        env=strict_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children_of(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_sweep_that_ends_however_it_ends_leaves_no_process_behind(folder, number):
    process = sweeping(folder, "--jobs", "2")
    for _ in range(3):  # how many there are, and the two that begin
        process.stdout.readline()
    children = children_of(process)
    assert len(children) == 2
    os.kill(process.pid, number)
    error = process.communicate(timeout=600)[1]
    if number is not signal.SIGKILL:
        assert process.returncode == 1
        assert "stopped; go on with: turnmix sweep tiny.yaml --output out --jobs 2" in error
    deadline = time.monotonic() + 600
    while any(map(is_running, children)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


SHARING = {
    **COMPARISON,
    "overrides": [
        *(
            "iterations=2",
            "rollouts.tasks_per_iteration=2",
            "scaffold.max_turns=4",
            "student.max_new_tokens=8",
        ),
        *("learner.epochs=1", "learner.learning_rate=1e-3", "evaluation.tasks=1", "evaluation.every=2"),
        *("data.filter=all",),
    ],
    "arms": {"sft": ["method=sft"], "dagger": ["method=dagger", "mixture.decay=0.5", "mixture.floor=0.5"]},
    "seeds": [3],
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A finished sweep whose second run failed at first and takes its first rollouts from the other run; what was told
    of it, and when the first run's weights were written before and after the failing run was tried again."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SHARING, sort_keys=False))
    blocked = folder / "out" / "dagger-seed-3"
    first = sweeping(folder)
    begun = first.stdout.readline()
    blocked.mkdir()
    (blocked / "thesis.tex").write_text("years")
    told, error = first.communicate(timeout=3000)
    failed = (first.returncode, begun + told, error)
    weights = folder / "out" / "sft-seed-3" / "checkpoints" / "iteration-002" / "model.safetensors"
    written = [weights.stat().st_mtime_ns]

    (blocked / "thesis.tex").unlink()
    second = sweeping(folder)
    told, error = second.communicate(timeout=3000)
    written.append(weights.stat().st_mtime_ns)
    return folder, failed, (second.returncode, told, error), written


def test_a_run_that_fails_stops_no_other_and_the_same_command_tries_it_again(swept):
    folder, (code, told, error), again, written = swept
    assert code == 1
    assert "2 runs below out" in told
    assert "failed to train: out/logs/dagger-seed-3.log" in told
    line = next(line for line in error.splitlines() if line.startswith("  dagger-seed-3: "))
    assert "exit status 2: run directory out/dagger-seed-3 is not empty" in line
    assert "(log: out/logs/dagger-seed-3.log)" in line
    assert "go on with: turnmix sweep tiny.yaml --output out" in error

    code, told, error = again
    assert code == 0, error
    assert "2 runs are complete in out" in told
    assert written[0] == written[1]

    record = json.loads((folder / "out" / "comparison.json").read_text())
    assert record["digest"] == turnmix.compare(folder / "out").record["digest"]
    listed = {each.path.name: each for each in turnmix.list_runs(folder)}
    assert (listed["out"].kind, listed["out"].state, listed["out"].done) == ("sweep", "complete", 2)
    assert (listed["sft-seed-3"].method, listed["sft-seed-3"].tasks) == ("sft", 1)
    with pytest.raises(turnmix.UserError, match="was begun by another comparison"):
        turnmix.sweep({**SHARING, "seeds": [5]}, output=folder / "out", reporter=turnmix.QuietReporter())


def trajectories_of(path):
    """By id, but for how long each took."""
    found = {}
    for line in path.read_text().splitlines():
        trajectory = json.loads(line)
        for turn in trajectory["turns"]:
            del turn["seconds"]
        found[trajectory["id"]] = trajectory
    return found


def test_a_run_that_takes_its_first_rollouts_from_another_ends_in_the_weights_that_it_has_alone(
    swept, tmp_path
):
    folder, _, (_, told, _), _ = swept
    assert "dagger-seed-3  takes base evaluation and first rollouts from sft-seed-3\n" in told
    shared = folder / "out" / "dagger-seed-3"
    lines = [
        (folder / "out" / name / "trajectories.jsonl").read_text() for name in ("sft-seed-3", "dagger-seed-3")
    ]
    first = [sorted(line for line in text.splitlines() if line.startswith('{"id":"i001-')) for text in lines]
    assert len(first[0]) == 2
    assert first[0] == first[1]  # with their seconds: they are the same

    alone = tmp_path / "alone"
    overrides = [*SHARING["overrides"], *SHARING["arms"]["dagger"], "seed=3"]
    turnmix.train("minirepo", overrides, run=alone, reporter=turnmix.QuietReporter())
    for name in ("trajectories.jsonl", "evaluations.jsonl"):
        assert trajectories_of(shared / name) == trajectories_of(alone / name)
    for iteration in ("iteration-001", "iteration-002"):
        weights = [
            (run / "checkpoints" / iteration / "model.safetensors").read_bytes() for run in (shared, alone)
        ]
        assert weights[0] == weights[1]
    actors = {
        turn["actor"]
        for key, each in trajectories_of(alone / "trajectories.jsonl").items()
        if key.startswith("i002")
        for turn in each["turns"]
    }
    assert "student" in actors
