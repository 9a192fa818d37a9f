"""The student behind a real `transformers serve`: it acts as the checkpoint it was given, and after each renewal."""

import json
import re
from pathlib import Path

import pytest
import yaml
from long_tests import takes_minutes
from served_students import (
    BASE,
    Killing,
    has_sandbox,
    own_actions,
    perturbed,
    rolled_out,
    student_server,
    visited,
)

from turnmix.core.errors import UserError
from turnmix.core.trajectory import StopReason
from turnmix.nano import CHECKPOINT
from turnmix.policies.server.engine import Weights
from turnmix.policies.server.transformers import TransformersEngine
from turnmix.store.run_directory import RunDirectory
from warm_python import run_turnmix

for package in ("fastapi", "uvicorn", "openai"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'turnmix[serve]'")
needs_sandbox = pytest.mark.skipif(not has_sandbox(), reason="bwrap is not installed: apt install bubblewrap")
pytestmark = needs_sandbox

ENGINE = TransformersEngine(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = student_server(ENGINE)
    try:
        server.open(BASE, log=tmp_path_factory.mktemp("served") / "server.log")
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return perturbed(tmp_path_factory.mktemp("checkpoints") / "iteration-001")


def messages(actions):
    return [(action.message, action.parse_error) for action in actions]


def test_it_acts_as_the_checkpoint_and_after_each_renewal_as_the_new_one(server, other):
    for weights, different in ((BASE, other), (other, BASE), (BASE, other)):
        server.renew(weights)
        seen = visited(rolled_out(server.policy(greedy=True)))
        states = [state for state, _ in seen]
        served = messages(action for _, action in seen)
        assert served == messages(own_actions(weights.location, states))
        assert served != messages(own_actions(different.location, states))


def test_its_actions_have_no_token_ids_but_both_counts(server):
    for _, action in visited(rolled_out(server.policy(greedy=True), turns=2)):
        assert action.token_ids is None
        assert action.logprobs is None
        assert action.prompt_tokens > 0
        assert action.completion_tokens > 0


def test_equal_seeds_give_equal_rollouts_however_many_run_at_once(server):
    server.renew(BASE)
    first, second = (
        sorted(
            (t.id, [turn.action.message for turn in t.turns]) for t in rolled_out(server.policy(greedy=False))
        )
        for _ in range(2)
    )
    assert first == second


def test_it_samples_when_it_is_not_greedy(server):
    server.renew(BASE)
    greedy, sampled = (
        [action.message for _, action in visited(rolled_out(server.policy(greedy=greedy), turns=6))]
        for greedy in (True, False)
    )
    assert greedy != sampled


def test_a_server_killed_in_the_middle_is_started_again_with_the_same_weights(server, other):
    server.renew(other)
    before = server.num_restarts
    killing = Killing(server, server.policy(greedy=True), after=5)
    found = rolled_out(killing)
    assert killing.has_killed
    assert [t.stop_reason for t in found if t.stop_reason is StopReason.infra_error] == []
    assert server.num_restarts == before + 1
    seen = visited(found)
    own = own_actions(other.location, [state for state, _ in seen])
    assert messages(action for _, action in seen) == messages(own)


def given(server):
    """A student behind the server that another one started."""
    return student_server(ENGINE, endpoint=server._control.endpoint, max_attempts=2)


@takes_minutes
def test_weights_that_cannot_be_loaded_are_refused_by_name(server, tmp_path):
    nowhere = Weights(location=str(tmp_path / "absent"), base=str(CHECKPOINT))
    with pytest.raises(UserError, match="absent"):
        given(server).open(nowhere, log=tmp_path / "unused.log")


@takes_minutes
def test_a_given_server_that_dies_makes_infra_errors_and_never_a_failure_of_the_student(server, tmp_path):
    student = given(server)
    student.open(BASE, log=tmp_path / "unused.log")
    policy = student.policy(greedy=True)
    server.close()  # the next test that asks it for other weights starts it again
    found = rolled_out(policy, turns=2)
    assert {t.stop_reason for t in found} == {StopReason.infra_error}
    assert all(t.verdict is None and "student.server" in t.error for t in found)


@takes_minutes
def test_a_run_evaluates_each_iteration_with_the_weights_it_has_just_learned(tmp_path):
    overrides = [
        "student.server.engine=transformers",
        "student.max_new_tokens=48",
        "iterations=2",
        "rollouts.tasks_per_iteration=6",
        "mixture.decay=0.6",
        "data.filter=all",
        "learner.learning_rate=0.01",
        "learner.epochs=2",
        "scaffold.max_turns=5",
        "evaluation.tasks=2",
        "evaluation.every=1",
    ]
    recipe = Path(__file__).parents[2] / "recipes" / "minirepo_dagger.yaml"
    done = run_turnmix("train", str(recipe), *overrides, "--run", "run", cwd=tmp_path, timeout=1500)
    assert done.returncode == 0, done.stderr
    run = RunDirectory.read(tmp_path / "run")
    assert yaml.safe_load(run.recipe_path.read_text())["student"]["server"]["engine"] == "transformers"
    locations = [CHECKPOINT, run.checkpoint(1), run.checkpoint(2)]
    ids = json.loads("[" + ",".join((run.path / "evaluations.jsonl").read_text().splitlines()) + "]")
    for iteration, location in enumerate(locations):
        evaluated = run.evaluations.read([t["id"] for t in ids if t["iteration"] == iteration])
        seen = visited(list(evaluated))
        states = [state for state, _ in seen]
        served = messages(action for _, action in seen)
        assert served == messages(own_actions(location, states))
        assert served != messages(own_actions(locations[iteration - 1], states))
    assert "Uvicorn running" in (run.path / "student-server.log").read_text()
    started = re.search(r"Started server process \[(\d+)\]", (run.path / "student-server.log").read_text())
    assert not Path(f"/proc/{started[1]}").exists()
