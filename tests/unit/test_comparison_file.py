"""A comparison is fixed before it is run: each mistake is one line, before any work, and a changed one is refused."""

import copy
import subprocess
from pathlib import Path

import pytest
import yaml
from stored_runs import COMPARISON

from turnmix.core.errors import RecipeError, UserError
from turnmix.recipe.recipe import load_recipe
from turnmix.running.comparison_file import comparison_of, read_comparison
from turnmix.running.sweep_arms import planned_runs
from turnmix.running.sweep_grid import given_comparison
from turnmix.running.sweep_record import commit_of, record_of
from turnmix.store.sweep_directory import SweepDirectory, read_sweep

COMPARISONS = Path(__file__).parents[2] / "comparisons"


def changed(**values):
    data = copy.deepcopy(COMPARISON)
    for name, value in values.items():
        target, *path = data, *name.split("__")
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value
    return data


def test_each_arm_is_run_once_with_each_seed_the_arms_of_a_seed_after_each_other():
    runs = planned_runs(comparison_of(COMPARISON))
    assert [run.name for run in runs] == ["sft-seed-0", "dagger-seed-0", "sft-seed-1", "dagger-seed-1"]
    for run in runs:
        assert load_recipe(run.recipe_name, run.overrides) == run.recipe


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"arm": {}}, "arm: unknown key; did you mean 'arms'?"),
        ({"seeds": [0, 0]}, "seeds: [0, 0]: a seed is given twice: keep one"),
        ({"seeds": [-1]}, "seeds: [-1]: a seed is 0 or more"),
        ({"seeds": []}, "seeds: []: give one seed or more"),
        ({"seeds": [True]}, "seeds.0: true: must be a valid integer"),
        ({"outcomes": ["resolve"]}, "did you mean 'resolved'?"),
        ({"arms": {"a/b": []}}, "'a/b' names a directory: write letters"),
        ({"arms__sft": ["seed=3"]}, "arms.sft: 'seed=3': leave it out: seeds says the seeds of all arms"),
        ({"reference": "stf"}, "reference: 'stf' is no arm: use one of sft, dagger; did you mean 'sft'?"),
        (
            {"analysis__instruments": ["divergence"]},
            "'resolved_after_breaking' is measured by accidents: add it",
        ),
        ({"analysis__instruments": ["divergnce"]}, "did you mean 'divergence'?"),
        ({"analysis__tasks": 0}, "analysis.tasks: 0: must be greater than or equal to 1"),
        ({"decision__between": ["sft", "sft"]}, "decision.between: the same arm twice: name two arms"),
        (
            {"decision__criteria": [{"outcome": "resolved"}]},
            "it says nothing: set direction, p_value_at_most",
        ),
        (
            {"decision__criteria": [{"outcome": "resolved", "direction": "lower", "in_seeds": 3}]},
            "in_seeds: 3: there are 2 seeds: ask for fewer",
        ),
        (
            {"decision__criteria": [{"outcome": "resolved_after_harmless", "direction": "lower"}]},
            "'resolved_after_harmless' is not measured",
        ),
        (
            {"decision__criteria": [{"outcome": "resolved", "direction": "lower", "against": "dagger"}]},
            "criteria.0.against: 'dagger' against itself: name another arm",
        ),
        (
            {"decision__criteria": [{"outcome": "resolved", "direction": "lower", "against": "opd"}]},
            "criteria.0.against: 'opd' is no arm: use one of sft, dagger",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_field_the_value_and_the_fix(tmp_path, values, told):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(changed(**values), sort_keys=False))
    with pytest.raises(RecipeError) as error:
        read_comparison(file)
    assert any(told in line and f"(in {file})" in line for line in error.value.lines), error.value.lines
    assert len(error.value.lines) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"arms__dagger": ["method=dager"]}, "arms.dagger: method: 'dager'"),
        ({"arms__dagger": ["method=dagger", "learner.epoch=3"]}, "arms.dagger: learner.epoch: unknown key"),
        ({"recipe": "minirep"}, "all arms: recipe 'minirep' not found"),
        ({"arms__dagger": ["method=sft"]}, "arms.dagger: its recipe is the same as that of sft"),
        (
            {"analysis__overrides": ["teacher.kin=oracle"]},
            "all arms: analysis.overrides: teacher.kin: unknown key",
        ),
        (
            {"analysis__checkpoints": [0, 99]},
            "all arms: analysis.checkpoints: 99: name last, all, or iterations",
        ),
        ({"analysis__checkpoints": []}, "all arms: analysis.checkpoints: []: name last, all, or iterations"),
    ],
)
def test_the_recipes_of_all_arms_are_checked_before_the_first_run(values, told):
    with pytest.raises(RecipeError) as error:
        planned_runs(comparison_of(changed(**values)))
    assert any(line.startswith(told) for line in error.value.lines), error.value.lines


def test_nothing_would_be_measured():
    data = {**changed(outcomes=["resolved"], decision=None), "analysis": None}
    with pytest.raises(RecipeError, match=r"arms.sft: evaluation.tasks: 0, and no analysis"):
        planned_runs(comparison_of(data))


def test_a_grid_of_settings_is_a_comparison_whose_arms_are_its_choices():
    words = [
        "method=sft,dagger",
        "learner.epochs=1,2",
        "seed=0,2",
        "iterations=2",
        "learner.betas=[0.9,0.99]",
    ]
    comparison = given_comparison("minirepo", words).comparison
    assert comparison.arms == {
        "sft_epochs-1": ("method=sft", "learner.epochs=1"),
        "sft_epochs-2": ("method=sft", "learner.epochs=2"),
        "dagger_epochs-1": ("method=dagger", "learner.epochs=1"),
        "dagger_epochs-2": ("method=dagger", "learner.epochs=2"),
    }
    assert comparison.seeds == (0, 2)
    assert comparison.overrides == ("iterations=2", "learner.betas=[0.9,0.99]")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "minirepo.yaml is a recipe: put what is to differ behind it"),
        (["method=sft,sft"], "given twice"),
        ([f"student.model={'a' * 40}1,{'a' * 40}2"], "named like another"),
        (["seed=0,one"], "seed: 'one': write whole numbers, such as seed=0,1,2"),
        (["seed=0,1", "seed=2,3"], "a setting is given twice: keep one"),
    ],
)
def test_a_grid_that_is_none_is_told(words, told):
    with pytest.raises(UserError, match=told):
        given_comparison("minirepo", words)


def test_a_name_of_nothing_is_told_as_one_and_what_may_be_meant(tmp_path):
    file = tmp_path / "shift.yaml"
    file.write_text(yaml.safe_dump(COMPARISON))
    with pytest.raises(UserError) as error:
        given_comparison(tmp_path / "shfit.yaml")
    assert "no such comparison file, and no such recipe; did you mean" in str(error.value)
    assert str(error.value).endswith(f"{file}?")


def test_a_comparison_file_takes_no_changes_on_the_command_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(COMPARISON))
    with pytest.raises(UserError, match=r"'iterations=1': .*mine.yaml is fixed as it is"):
        given_comparison(file, ["iterations=1"])


def test_a_changed_file_is_refused_for_the_same_directory_naming_both_digests(tmp_path):
    first, other = comparison_of(COMPARISON), comparison_of(changed(seeds=[0, 1, 2]))
    path = tmp_path / "sweep"
    SweepDirectory.open(path, first.text, record_of(first)).close()
    fixed = read_sweep(path)["fixed"]
    SweepDirectory.open(path, first.text, record_of(first)).close()
    assert read_sweep(path)["fixed"] == fixed
    with pytest.raises(UserError) as error:
        SweepDirectory.open(path, other.text, record_of(other))
    assert all(each in str(error.value) for each in (first.digest, other.digest, fixed))


def test_two_processes_do_not_run_one_sweep(tmp_path):
    given = comparison_of(COMPARISON)
    held = SweepDirectory.open(tmp_path / "sweep", given.text, record_of(given))
    with pytest.raises(UserError, match="is being written by another process"):
        SweepDirectory.open(tmp_path / "sweep", given.text, record_of(given))
    held.close()


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    given = comparison_of(COMPARISON)
    with pytest.raises(UserError, match=r"is not empty \(thesis.tex is in it\)"):
        SweepDirectory.open(tmp_path, given.text, record_of(given))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_comparison_that_came_with_somebodys_sweep_is_not_run(tmp_path):
    given = comparison_of(COMPARISON)
    SweepDirectory.open(tmp_path / "sweep", given.text, record_of(given)).close()
    assert read_comparison(tmp_path / "sweep" / "comparison.yaml").digest == given.digest
    (tmp_path / "sweep").rename(tmp_path / "from_elsewhere")
    with pytest.raises(UserError, match="came with a sweep that you did not make on this machine"):
        read_comparison(tmp_path / "from_elsewhere" / "comparison.yaml")


def test_the_commit_is_told_of_a_file_that_is_committed_as_it_is(tmp_path):
    def git(*words):
        named = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        return subprocess.run(["git", *named, *words], cwd=tmp_path, check=True, capture_output=True).stdout

    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(COMPARISON))
    assert commit_of(file, file.read_bytes()) is None
    git("init", "-q")
    assert commit_of(file, file.read_bytes()) is None
    git("add", "mine.yaml")
    git("commit", "-qm", "fixed")
    assert commit_of(file, file.read_bytes())["id"] == git("rev-parse", "HEAD").decode().strip()
    assert commit_of(file, file.read_bytes() + b"# changed") is None


@pytest.mark.parametrize("file", sorted(COMPARISONS.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_comparison_that_comes_with_turnmix_says_sound_recipes(file):
    comparison = read_comparison(file).comparison
    for overrides in comparison.arms.values():
        recipe = load_recipe(comparison.recipe, [*comparison.overrides, *overrides])
        assert recipe.rollouts.tasks_per_iteration * recipe.iterations <= recipe.tasks.train
