"""What lies below a directory is listed, whoever wrote it."""

import json
import os
from contextlib import closing

import pytest
from stored_runs import COMPARISON, evaluated_run, sweep_directory

from turnmix import list_runs
from turnmix.cli import main
from turnmix.core.errors import UserError
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.store.run_directory import RunDirectory

RECIPE = recipe_yaml(load_recipe("minirepo_dagger", ["seed=3", "iterations=2"]))


def by_name(folder):
    return {each.path.name: each for each in list_runs(folder)}


def test_runs_and_sweeps_are_listed_with_how_far_they_are_and_what_goes_on_with_them(tmp_path):
    evaluated_run(tmp_path / "done", ["method=sft", "seed=1"])
    RunDirectory.create(tmp_path / "stopped", recipe_yaml=RECIPE).close()
    sweep = sweep_directory(tmp_path / "sweep", COMPARISON)
    evaluated_run(sweep / "sft-seed-0", ["method=sft"])
    with closing(RunDirectory.create(tmp_path / "deep" / "er" / "running", recipe_yaml=RECIPE)):
        found = by_name(tmp_path)
    assert [each for each in found] == ["running", "done", "stopped", "sweep", "sft-seed-0"]
    done = found["done"]
    assert (done.method, done.seed, done.resolved, done.tasks) == ("sft", 1, 2, 4)
    assert (done.state, done.command) == ("complete", None)
    stopped = found["stopped"]
    assert (stopped.method, stopped.seed, stopped.done, stopped.of) == ("dagger", 3, 0, 2)
    assert (stopped.state, stopped.command) == ("stopped", f"turnmix train --resume {stopped.path}")
    assert (found["running"].state, found["running"].command) == ("running", None)
    assert (found["sweep"].done, found["sweep"].of, found["sweep"].state) == (1, 4, "stopped")
    assert found["sweep"].command == f"turnmix sweep {sweep}/comparison.yaml --output {sweep}"


def test_what_is_damaged_or_leads_elsewhere_is_a_row_that_says_so_and_hides_no_other(tmp_path):
    evaluated_run(tmp_path / "good", ["method=sft"])
    for name in ("damaged", "linked", "piped", "huge"):
        RunDirectory.create(tmp_path / name, recipe_yaml=RECIPE).close()
    (tmp_path / "damaged" / "summary.json").write_text('{"method": 3}')
    (tmp_path / "linked" / "summary.json").symlink_to(tmp_path / "good" / "summary.json")
    os.mkfifo(tmp_path / "piped" / "summary.json")
    with open(tmp_path / "huge" / "recipe.yaml", "wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "circle").symlink_to(tmp_path)
    found = by_name(tmp_path)
    assert {name: each.state for name, each in found.items()} == {
        **dict.fromkeys(("damaged", "huge", "linked", "piped"), "damaged"),
        "good": "complete",
    }
    assert all(each.problem for each in found.values() if each.state == "damaged")


def test_a_sweep_that_came_from_elsewhere_offers_no_command(tmp_path):
    sweep_directory(tmp_path / "mine", COMPARISON).rename(tmp_path / "theirs")
    assert by_name(tmp_path)["theirs"].command is None


def test_the_command_prints_what_a_stranger_named_so_that_it_commands_no_terminal(tmp_path, capsys):
    RunDirectory.create(tmp_path / "evil\x1b[2J\nrun", recipe_yaml=RECIPE).close()
    assert main(["runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "stopped" in printed
    assert main(["runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "stopped"


def test_a_directory_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="is no directory: name one that holds runs"):
        list_runs(tmp_path / "nowhere")
