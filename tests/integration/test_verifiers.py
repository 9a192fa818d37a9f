"""Tasksets of verifiers as task sources: one that is made here, played by TurnMix and by verifiers' own harness."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from turnmix.core.errors import MissingDependencyError
from turnmix.environments.verifiers.source import VerifiersSettings

PYTHON = os.environ.get("TURNMIX_VERIFIERS_PYTHON", "")
HERE = Path(__file__).parent
needs_verifiers = pytest.mark.skipif(
    not PYTHON,
    reason="TURNMIX_VERIFIERS_PYTHON names no Python with verifiers: see scripts/make_verifiers.sh",
)


@pytest.fixture(scope="module")
def plays():
    path = os.pathsep.join(map(str, [HERE.parents[1] / "src", HERE]))
    done = subprocess.run(
        [PYTHON, HERE / "verifiers_plays.py"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)  # nothing else is on standard output


def test_without_the_package_one_line_says_which_extra_brings_it():
    try:
        import verifiers.v1  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match=r"pip install 'turnmix\[verifiers\]'$"):
            VerifiersSettings(environment="gsm8k_v1").make(None)


@needs_verifiers
def test_verifiers_own_harness_and_turnmix_give_the_same_rewards_and_stop_alike(plays):
    ours = [[verdict["reward"], verdict["details"]["stop"], []] for _, _, verdict in plays["ours"]]
    assert ours == plays["theirs"]
    # A reward of 1 for the answer, less a quarter for each turn.
    assert [reward for reward, _, _ in ours] == [1 - 3 / 4, -2 / 4, -3 / 4]
    assert plays["ours"][0][0][:2] == [["system", "Find it."], ["user", "Task 0: which number is wanted?"]]
    assert plays["ours"][0][0][3] == ["tool", "higher"]
    assert plays["again"] == plays["ours"][:1]  # as after a kill


@needs_verifiers
def test_each_task_is_in_one_split(plays):
    train, holdout = plays["tasks"]
    assert (len(train), len(holdout), set(train) & set(holdout)) == (4, 2, set())


@needs_verifiers
def test_a_trajectory_that_turnmix_ends_is_scored_as_it_stands(plays):
    _, stop, verdict = plays["stopped"]
    assert (stop, verdict["reward"], verdict["details"]["stop"]) == ("max_tokens", -1 / 4, "max_tokens")


@needs_verifiers
def test_an_expert_of_the_users_own_resolves_the_task(plays):
    messages, stop, verdict = plays["expert"]
    assert messages[-1] == ["assistant", "12"]
    assert (stop, verdict["reward"]) == ("finished", 1 / 2)


@needs_verifiers
def test_a_reward_that_cannot_be_given_is_an_error_and_never_0(plays):
    assert "its rollout in verifiers failed: TaskError" in plays["broken"]
    assert "no judge answers" in plays["broken"]


@needs_verifiers
def test_whatever_an_agent_does_is_answered(plays):
    assert plays["mutated"] == [-50 / 4] * len(plays["mutated"]) != []
