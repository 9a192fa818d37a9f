"""A run killed at random moments and resumed ends as one that was never interrupted."""

import json
import random
import re
import subprocess
import time

import pytest
from stored_trajectories import trajectories

from chat_rows import adding_row
from warm_python import run_turnmix, start_turnmix

RECIPE = """\
iterations: 2
tasks: {train: 40, holdout: 8}
student: {model: nano-student, cohort_size: 2, max_new_tokens: 16}
scaffold: {max_turns: 4}
rollouts: {tasks_per_iteration: 4, concurrency: 4}
data: {filter: all}
learner: {learning_rate: 1.0e-3, epochs: 1, batch_size: 2}
evaluation: {tasks: 2, base: late}
"""
METHODS = {
    "dagger": "method: dagger\nmixture: {decay: 0.5, floor: 0.5}\n",
    "imported": "method: sft\n",
    "opd": "method: opd\nteacher: {kind: local, model: nano-student}\nobjective: {kl_weight: 0.1}\n",
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    directory = tmp_path_factory.mktemp("resume")
    for method, section in METHODS.items():
        befalls = ", accidents: {kind: breaking, turns: [3, 4]}}" if method == "dagger" else "}"
        rollouts = f"rollouts: {{tasks_per_iteration: 4, concurrency: 4{befalls}"
        (directory / f"{method}.yaml").write_text(re.sub("rollouts: .*", rollouts, RECIPE) + section)
    rows = [json.dumps(adding_row(number)) + "\n" for number in range(8)]
    (directory / "rows.jsonl").write_text("".join(rows))
    imported = RECIPE.replace("filter: all", f"messages: {directory}/rows.jsonl")
    (directory / "imported.yaml").write_text(imported + METHODS["imported"])
    run_turnmix("--version", cwd=directory)  # so that no run waits for what all of them share

    def start_training(method, run):
        recipe = directory / f"{method}.yaml"
        began = (run / "recipe.yaml").exists()
        arguments = ["train", "--resume", str(run)] if began else ["train", str(recipe), "--run", str(run)]
        with open(f"{run}.log", "ab") as log:
            return start_turnmix(*arguments, cwd=directory, stdout=log, stderr=log)

    return start_training


def outcome(run):
    summary = json.loads((run / "summary.json").read_text())
    del summary["wall_seconds"]
    for row in summary["iterations"]:
        del row["seconds"]
    weights = {path.parent.name: path.read_bytes() for path in run.glob("checkpoints/*/model.safetensors")}
    logs = [trajectories(run / name) for name in ("trajectories.jsonl", "evaluations.jsonl")]
    scores = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    return summary, weights, logs, scores


@pytest.mark.parametrize(
    ("method", "num_kills"),
    [("dagger", 8), ("opd", 4), ("imported", 4)],
)
def test_a_run_killed_at_random_moments_and_resumed_ends_as_if_never_interrupted(
    method, num_kills, start, tmp_path
):
    whole = tmp_path / "whole"
    began = time.monotonic()
    process = start(method, whole)
    code = process.wait()
    duration = time.monotonic() - began
    assert code == 0, (tmp_path / "whole.log").read_text()
    expected = outcome(whole)
    assert expected[0]["is_complete"]
    assert len(expected[1]) == 2
    assert len(expected[3]) == (8 if method == "opd" else 0)
    assert (expected[0]["iterations"][0].get("accidents", 0) > 0) == (method == "dagger")

    generator = random.Random(20)
    kills = completed = 0
    while kills < num_kills or not completed:
        run = tmp_path / f"killed-{completed}"
        process = start(method, run)
        # Longer than any one stage may take, so that the run gets on between kills.
        try:
            code = process.wait(generator.uniform(0, 0.5 * duration) if kills < num_kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert code == 0, (tmp_path / f"{run.name}.log").read_text()
        assert outcome(run) == expected
        states = [path.parent.name for path in run.glob("checkpoints/*/learner.pt")]
        assert states == ["iteration-002"]
        completed += 1
    assert kills == num_kills
