"""Tasksets of verifiers as task sources: one that is made here, played by TurnMix and by verifiers' own harness."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from killed_training import DAGGER, SMALL, trained_whole_and_killed
from verifiers_plays import knower

from turnmix.cli import main
from turnmix.core.errors import MissingDependencyError
from turnmix.environments.verifiers.source import VerifiersSettings
from warm_python import MAIN

PYTHON = os.environ.get("TURNMIX_VERIFIERS_PYTHON", "")
HERE = Path(__file__).parent
RECIPE = str(HERE.parents[1] / "recipes" / "verifiers.yaml")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(map(str, [HERE.parents[1] / "src", HERE])),
    "OMP_NUM_THREADS": "1",
}
needs_verifiers = pytest.mark.skipif(
    not PYTHON,
    reason="TURNMIX_VERIFIERS_PYTHON names no Python with verifiers: see scripts/make_verifiers.sh",
)


@pytest.fixture(scope="module")
def plays():
    words = [PYTHON, HERE / "verifiers_plays.py"]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)  # nothing else is on standard output


def test_without_the_package_one_line_says_before_any_work_which_extra_brings_it(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "verifiers", None)
    missing = "tasks.source: 'verifiers': it needs the package verifiers >= 0.4"
    with pytest.raises(MissingDependencyError, match=r"pip install 'turnmix\[verifiers\]'$"):
        VerifiersSettings(environment="gsm8k_v1").make(None)
    assert main(["doctor", RECIPE]) == 1
    assert f"FAIL tasks: {missing}" in capsys.readouterr().out
    assert main(["train", RECIPE]) == 2
    assert capsys.readouterr().err.startswith(f"turnmix: {missing}")
    assert not list(tmp_path.iterdir())
    assert main(["train", RECIPE, "--dry-run"]) == 0
    assert capsys.readouterr().err.startswith(f"note: as things are, nothing would begin: {missing}")


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
def test_the_expert_resolves_all_tasks(plays):
    assert plays["resolved"] == [True] * 10


@needs_verifiers
def test_verifiers_own_judge_gives_its_reward_and_where_it_cannot_that_is_an_error_and_never_0(plays):
    judged = plays["judged"]
    assert [judged[said][2]["reward"] for said in ("yes", "no")] == [1 + 1 - 1 / 4, 1 + 0 - 1 / 4]
    assert "TaskError" in judged["without a key"]
    assert "401" in judged["without a key"]
    assert "Connection error" in judged["gone"]
    assert "returned no yes/no verdict: 'perhaps'" in judged["without a verdict"]
    assert "its reward reference was not given within tasks.scoring_seconds" in judged["silent"]


@needs_verifiers
def test_a_run_of_the_recipe_that_was_killed_goes_on_to_the_same_trajectories(tmp_path):
    def start(*words, **options):
        return subprocess.Popen(
            [PYTHON, "-c", MAIN, *words], env=ENVIRONMENT, stdin=subprocess.DEVNULL, **options
        )

    (tmp_path / "my_expert.py").write_text(inspect.getsource(knower))
    taskset = [
        *("tasks.environment=turnmix_test_taskset", "tasks.arguments.has_tools=false", "tasks.holdout=2"),
        "tasks.expert=my_expert:knower",
    ]
    trained_whole_and_killed(RECIPE, [*SMALL, *DAGGER, *taskset], tmp_path, start=start)


@needs_verifiers
def test_a_reward_that_cannot_be_given_is_an_error_and_never_0(plays):
    assert "its rollout in verifiers failed: TaskError" in plays["broken"]
    assert "no judge answers" in plays["broken"]


@needs_verifiers
def test_whatever_an_agent_does_is_answered(plays):
    assert plays["mutated"] == [-50 / 4] * len(plays["mutated"]) != []
