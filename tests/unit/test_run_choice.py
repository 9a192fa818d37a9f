"""Which run `turnmix train` is about: the same command goes on, another recipe gets a number."""

from contextlib import closing
from pathlib import Path

import pytest
import yaml

from turnmix.core.errors import RecipeError, UserError
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.running.evaluation_target import located
from turnmix.running.run_choice import chosen_run, resumed_recipe
from turnmix.store.run_directory import RunDirectory


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def recipe(*overrides):
    return load_recipe("minirepo_dagger", overrides)


def begun(path, *overrides):
    RunDirectory.create(Path(path), recipe_yaml=recipe_yaml(recipe(*overrides))).close()


def choice(*overrides, run=None):
    found = chosen_run(recipe(*overrides), name="recipes/minirepo_dagger.yaml", run=run)
    return str(found.path), found.is_begun, found.note


def test_a_first_run_is_named_after_its_recipe():
    assert choice() == ("runs/minirepo_dagger", False, None)


@pytest.mark.parametrize(
    ("name", "overrides", "path"),
    [
        ("minirepo", ["method=sft"], "runs/minirepo_sft"),
        ("minirepo_dagger", ["seed=1", "method=sft"], "runs/minirepo_dagger_sft"),
        ("minirepo_dagger", ["method=dagger"], "runs/minirepo_dagger"),
    ],
)
def test_runs_of_other_methods_of_a_recipe_are_named_after_their_method(name, overrides, path):
    found = chosen_run(load_recipe(name, overrides), name=name, run=None, overrides=overrides)
    assert str(found.path) == path


@pytest.mark.parametrize("run", [None, "runs/minirepo_dagger"])
def test_the_same_command_again_goes_on_with_its_run(run):
    begun("runs/minirepo_dagger", "seed=3")
    path, is_begun, note = choice("seed=3", run=run)
    assert (path, is_begun) == ("runs/minirepo_dagger", True)
    assert note == "runs/minirepo_dagger holds a run of this recipe: going on with it"


def test_another_recipe_gets_the_next_number_and_later_its_own_run_again():
    begun("runs/minirepo_dagger")
    path, is_begun, note = choice("seed=3")
    assert (path, is_begun) == ("runs/minirepo_dagger-2", False)
    assert note == (
        "runs/minirepo_dagger holds a run of another recipe (seed: 0 there, 3 here): this one goes to "
        "runs/minirepo_dagger-2"
    )
    begun("runs/minirepo_dagger-2", "seed=3")
    assert choice("seed=3")[:2] == ("runs/minirepo_dagger-2", True)
    assert choice("seed=4")[:2] == ("runs/minirepo_dagger-3", False)
    assert choice()[:2] == ("runs/minirepo_dagger", True)


def test_what_is_no_run_is_left_alone():
    Path("runs/minirepo_dagger").mkdir(parents=True)
    Path("runs/minirepo_dagger/thesis.tex").touch()
    assert choice()[:2] == ("runs/minirepo_dagger-2", False)


def test_a_named_directory_with_another_recipe_is_refused_with_both_values_and_both_ways_out():
    begun("mine", "seed=3")
    with pytest.raises(UserError) as refusal:
        choice(run="mine")
    assert str(refusal.value) == (
        "mine holds a run of another recipe (seed: 3 there, 0 here): name another directory with --run, or go on "
        "there: turnmix train --resume mine"
    )


def test_a_recipe_that_is_older_than_a_setting_is_the_same_recipe():
    given = yaml.safe_load(recipe_yaml(recipe()))
    del given["checkpoints"]
    RunDirectory.create(Path("old"), recipe_yaml=yaml.safe_dump(given)).close()
    assert choice(run="old")[1]
    assert resumed_recipe(Path("old"), None, []) == recipe()
    with pytest.raises(RecipeError, match=r"checkpoints\.keep: 2, but the run in old was begun with None"):
        resumed_recipe(Path("old"), None, ["checkpoints.keep=2"])


def test_a_run_goes_on_with_its_recipe_on_other_machines():
    begun("mine", "cluster.rollout_workers=4")
    assert choice(run="mine")[1]
    assert choice("cluster.rollout_workers=8", run="mine")[1]
    assert resumed_recipe(Path("mine"), None, []).cluster.rollout_workers == 4
    assert resumed_recipe(Path("mine"), None, ["cluster=null"]) == recipe()
    with pytest.raises(UserError, match=r"seed: 0 there, 3 here"):
        choice("seed=3", "cluster.rollout_workers=8", run="mine")


def test_a_trained_run_without_checkpoints_is_never_evaluated_as_its_base_model():
    begun("a run")
    assert located("a run").model is None
    with closing(RunDirectory.resume(Path("a run"))) as run:
        run.record_stage("train", 1, {})
        run.record_stage("train", 2, {})
    with pytest.raises(UserError, match=r"trained up to iteration 2, .* no whole .*train --resume 'a run'"):
        located("a run")
