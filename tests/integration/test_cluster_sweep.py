"""A sweep whose runs share one cluster: as many side by side as it has room for, to the same trajectories."""

import pytest
from pretend_cluster import RECIPE_OF_RUNS, Watching, pretend_cluster
from scaffold_in_sandbox import needs_sandbox
from stored_trajectories import trajectories

import turnmix
from turnmix.core.errors import RecipeError

pytest.importorskip("ray", reason="needs the package ray: pip install 'turnmix[ray]'")
pytestmark = needs_sandbox

RECIPE = {
    **RECIPE_OF_RUNS,
    "iterations": 1,
    "scaffold": {"max_turns": 2},
    "rollouts": {"tasks_per_iteration": 2, "concurrency": 2},
    "student": {**RECIPE_OF_RUNS["student"], "max_new_tokens": 4},
    "evaluation": {"tasks": 1, "base": False},
}


def comparison(arms, cluster=None):
    section = {} if cluster is None else {"cluster": cluster}
    return {
        "name": "tiny",
        "recipe": "minirepo",
        "overrides": overrides({**RECIPE, **section}),
        "arms": arms,
        "seeds": [0],
    }


def overrides(given, prefix=""):
    found = []
    for name, value in given.items():
        if isinstance(value, dict) and name != "mixture":
            found += overrides(value, f"{prefix}{name}.")
        elif name not in ("method", "mixture"):
            found.append(f"{prefix}{name}={str(value).lower() if isinstance(value, bool) else value}")
    return found


ARMS = {"sft": ["method=sft"], "dagger": ["method=dagger"]}


def test_runs_of_a_sweep_begin_as_the_cluster_has_room_and_one_that_waits_says_so(tmp_path):
    with pretend_cluster(nodes=1) as cluster:
        section = {
            "address": cluster.address,
            "rollout_workers": 1,
            "cpus_per_worker": 2,
            "heartbeat_seconds": 30,
        }
        there = Watching()
        turnmix.sweep(comparison(ARMS, section), output=str(tmp_path / "there"), jobs=2, reporter=there)
        told = [line for _, line in there.lines]
        (waiting,) = [line for line in told if "waits for room in the cluster" in line]
        assert "it takes 2 CPU, of which 0 are left beside the others" in waiting
        assert told.index(waiting) < next(number for number, line in enumerate(told) if "trained in" in line)
    without_cluster = Watching()
    turnmix.sweep(comparison(ARMS, section), output=str(tmp_path / "there"), reporter=without_cluster)
    assert sum("complete already" in line for _, line in without_cluster.lines) == len(ARMS)
    turnmix.sweep(comparison(ARMS), output=str(tmp_path / "here"), jobs=2, reporter=Watching())
    for run in (f"{arm}-seed-0" for arm in ARMS):
        logs = [tmp_path / where / run / "trajectories.jsonl" for where in ("here", "there")]
        assert len(trajectories(logs[0])) == 2
        assert trajectories(logs[0]) == trajectories(logs[1])


def test_arms_that_differ_in_the_cluster_alone_are_one_run(tmp_path):
    arms = {
        "one": ["method=dagger", "cluster.rollout_workers=1"],
        "two": ["method=dagger", "cluster.rollout_workers=2"],
    }
    with pytest.raises(
        RecipeError, match=r"arms.two: .*same as that of one, whatever they say of the cluster"
    ):
        turnmix.sweep(comparison(arms), output=str(tmp_path / "out"), reporter=Watching())
