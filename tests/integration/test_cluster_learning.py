"""Learners that Ray Train places learn what one process does, also where one of them is killed in the middle."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from long_tests import takes_minutes
from safetensors.torch import load_file

import turnmix
from process_table import is_running
from ray_machines import machines, processes
from turnmix.assembly.learning import load_learning_student
from turnmix.assembly.teacher import make_teacher
from turnmix.cluster.learning import LEARNED, place_student
from turnmix.core.errors import TrainingError
from turnmix.doctor.cluster import check_cluster
from turnmix.methods.registry import teach
from turnmix.recipe.recipe import recipe_of
from turnmix.store.run_directory import RunDirectory

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'turnmix[ray]'")

TOLERANCE = 2e-6  # relative L2, as of two processes that a launcher starts
RECIPE = {
    "method": "dagger",
    "iterations": 1,
    "tasks": {"train": 40, "holdout": 8},
    "student": {"model": "nano-student", "cohort_size": 4, "max_new_tokens": 16},
    "scaffold": {"max_turns": 4},
    "rollouts": {"tasks_per_iteration": 4, "concurrency": 4},
    "data": {"filter": "all"},
    "learner": {"learning_rate": 1.0e-3, "epochs": 12, "batch_size": 2},
    "evaluation": {"tasks": 0},
}
ITERATIONS = (1, 2)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Gives the transitions that a run teaches, a list of its own at each call."""
    run = tmp_path_factory.mktemp("runs") / "rolled-out"
    turnmix.train(RECIPE, run=str(run))
    recipe = recipe_of(RECIPE)

    def transitions():
        directory = RunDirectory.read(run)
        kept = list(directory.trajectories.read(directory.trajectories.ids_of("i001")))
        return teach(recipe.method, kept, recipe.objective).transitions

    return transitions


@pytest.fixture(scope="module")
def of_one(taught):
    """What one process learns in two iterations: its reports, its steps, its weights."""
    recipe = recipe_of(RECIPE)
    student = load_learning_student(recipe, teacher=make_teacher(recipe, expert=None), checkpoint=None)
    steps = []
    reports = [
        student.learn(taught(), generator=random.Random(number), on_step=steps.append)
        for number in ITERATIONS
    ]
    return reports, steps, student.learner.acting_model.state_dict()


@pytest.fixture(scope="module")
def cluster():
    with machines(2, namespace="test-learning") as cluster:
        yield cluster


def placed(run, *, heartbeat=30, **changes):
    learner = {**RECIPE["learner"], **changes}
    cluster = {"learners": 2, "heartbeat_seconds": heartbeat}
    recipe = recipe_of({**RECIPE, "learner": learner, "cluster": cluster})
    run.mkdir()
    return place_student(
        recipe, teacher=make_teacher(recipe, expert=None), run=run, checkpoint=None, moment=None
    )


def difference(found, expected):
    """Relative L2 over all tensors that were saved."""
    wanted = torch.cat([expected[name].flatten() for name in found])
    return ((torch.cat([each.flatten() for each in found.values()]) - wanted).norm() / wanted.norm()).item()


def learned(student, taught, run, *, harm=lambda pid: None):
    """Steps, reports and notes of the student's iterations; `harm` is done to a learner at the first step of the second
    one. Its checkpoints are `checkpoint-1` and `checkpoint-2` in `run`."""
    told, steps, reports, harmed = [], [], [], []

    def on_step(report):
        steps.append(report)
        if report.step == 1 and len(steps) > 1 and not harmed:
            harmed.append(processes("RayTrainWorker")[-1:])
            for pid in harmed[0]:
                with suppress(ProcessLookupError):
                    harm(pid)

    with student.serving(log=run / "unused.log", say=told.append):
        for number in ITERATIONS:
            transitions = taught()
            reports.append(student.learn(transitions, generator=random.Random(number), on_step=on_step))
            assert transitions == []
            student.save(run / f"checkpoint-{number}")
    assert harmed
    assert not (run / LEARNED).exists()
    return steps, reports, told


def learned_with_harm(taught, of_one, folder, harm, **changes):
    """Where one is harmed in the middle: what was told. Once more where both had learned all by then."""
    for attempt in range(4):
        run = folder / f"run-{attempt}"
        steps, reports, told = learned(placed(run, **changes), taught, run, harm=harm)
        check_is_as_of_one(steps, reports, run / "checkpoint-2", of_one)
        if told:
            break
    return told


def check_is_as_of_one(steps, reports, weights, of_one):
    expected_reports, expected_steps, expected = of_one
    assert difference(load_file(weights / "model.safetensors"), expected) <= TOLERANCE
    assert [each.step for each in steps] == [each.step for each in expected_steps]
    assert [each.loss for each in steps] == pytest.approx([each.loss for each in expected_steps], rel=1e-5)
    for found, one in zip(reports, expected_reports, strict=True):
        assert found.label_tokens == one.label_tokens
        assert found.last_epoch_loss == pytest.approx(one.last_epoch_loss, rel=1e-5)


def test_two_placed_learners_learn_what_one_process_does_also_where_one_is_killed_in_the_middle(
    taught, of_one, cluster, tmp_path
):
    told = learned_with_harm(taught, of_one, tmp_path, lambda pid: os.kill(pid, signal.SIGKILL))
    assert len(told) == 1, told
    assert "the iteration's training begins again" in told[0]


@takes_minutes
def test_a_learner_that_hangs_is_found_and_ended_and_nothing_is_lost(taught, of_one, cluster, tmp_path):
    stopped = []

    def stop(pid):
        stopped.append(pid)
        os.kill(pid, signal.SIGSTOP)

    told = learned_with_harm(taught, of_one, tmp_path, stop, heartbeat=10)
    assert len(told) == 1, told
    deadline = time.monotonic() + 120
    while any(map(is_running, stopped)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@takes_minutes
def test_machines_that_do_not_see_the_run_are_sent_the_checkpoint_and_send_the_next_one(
    taught, of_one, tmp_path
):
    run = tmp_path / "run"
    ray_program = Path(sys.executable).with_name("ray")
    with machines(1, namespace="test-blind", memory=1 << 19) as cluster:  # too little for a learner
        student = placed(run)
        apart = ["bwrap", "--dev-bind", "/", "/", "--tmpfs", str(run)]
        command = [*apart, ray_program, "start", f"--address={cluster.address}", "--num-cpus=2", "--block"]
        with (tmp_path / "node.log").open("w") as log:
            blind = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while len(ray.nodes()) < 2:
                assert blind.poll() is None, (tmp_path / "node.log").read_text()
                time.sleep(0.5)
            steps, reports, told = learned(student, taught, run)
        finally:
            blind.terminate()
            blind.wait()
    assert told == []
    check_is_as_of_one(steps, reports, run / "checkpoint-2", of_one)


@takes_minutes
def test_a_loss_that_is_not_finite_is_told_once_as_in_one_process(taught, cluster, tmp_path):
    student = placed(tmp_path / "run", learning_rate=1e30)
    told = []
    with (
        student.serving(log=tmp_path / "unused.log", say=told.append),
        pytest.raises(TrainingError, match="step 2 of 24"),
    ):
        student.learn(taught(), generator=random.Random(1), on_step=lambda report: None)
    assert told == []


def test_doctor_asks_every_machine(cluster, tmp_path):
    recipe = recipe_of({**RECIPE, "cluster": {"rollout_workers": 2, "learners": 2}})
    found = list(check_cluster(recipe, runs=tmp_path / "runs"))
    assert [each for each in found if each.passed is not True] == []
    told = {each.subject: each.detail for each in found}
    assert told["size"].startswith("2 machines with 4 CPU cores, 0 GPUs")
    assert told["rollout_workers"] == "2, each with 1 CPU"
    assert "2 of 2" in told["versions"]
    assert "2 of 2" in told["sandboxes"]
    assert told["path"] == "every machine sees the directory of the runs"
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_what_a_cluster_has_no_room_for(cluster, tmp_path):
    recipe = recipe_of({**RECIPE, "cluster": {"rollout_workers": 5, "learners": 2, "gpus_per_learner": 1}})
    failed = [each.detail for each in check_cluster(recipe, runs=tmp_path) if each.passed is False]
    assert failed == [
        "cluster.rollout_workers: 5 with 1 CPU each, but there is room for 4: set it to 4, or add machines",
        "cluster.learners: 2 with 1 GPU each, but there is room for 0: set it to 0, or add machines",
        "workers, learners and servers together ask for 2 GPUs, of which there are 0: lower cluster.learners, "
        "cluster.servers or cluster.rollout_workers",
    ]
