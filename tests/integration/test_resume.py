"""A run killed at random moments and resumed ends as one that was never interrupted."""

import json
import multiprocessing
import os
import random
import re
import time

import pytest
from long_tests import takes_minutes
from stored_trajectories import trajectories

from chat_rows import adding_row

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


def train(arguments, output):
    """In a process of its own, with tensor code loaded already by the fork server."""
    from turnmix.cli import main

    with open(output, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    raise SystemExit(main(arguments))


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
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "torch",
            "transformers.models.qwen3.modeling_qwen3",
            "turnmix.training.checkpoint",
            "turnmix.loop.loop",
        ]
    )
    warm_up = context.Process(target=train, args=(["--version"], str(directory / "warm-up.log")))
    warm_up.start()
    warm_up.join()

    def start_training(method, run):
        recipe = directory / f"{method}.yaml"
        began = (run / "recipe.yaml").exists()
        arguments = ["train", "--resume", str(run)] if began else ["train", str(recipe), "--run", str(run)]
        process = context.Process(target=train, args=(arguments, str(run) + ".log"))
        process.start()
        return process

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
    [("dagger", 6), ("opd", 8), ("imported", 4), pytest.param("dagger", 20, marks=takes_minutes)],
)
def test_a_run_killed_at_random_moments_and_resumed_ends_as_if_never_interrupted(
    method, num_kills, start, tmp_path
):
    whole = tmp_path / "whole"
    began = time.monotonic()
    process = start(method, whole)
    process.join()
    duration = time.monotonic() - began
    assert process.exitcode == 0, (tmp_path / "whole.log").read_text()
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
        process.join(generator.uniform(0, 0.5 * duration) if kills < num_kills else None)
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
            continue
        assert process.exitcode == 0, (tmp_path / f"{run.name}.log").read_text()
        assert outcome(run) == expected
        states = [path.parent.name for path in run.glob("checkpoints/*/learner.pt")]
        assert states == ["iteration-002"]
        completed += 1
    assert kills == num_kills
