"""The section `rollouts.scaffold`: a door, what it refuses, and what it says that has no effect."""

import pytest

from turnmix.assembly.descriptor_need import OF_A_SCAFFOLD, descriptors_needed
from turnmix.core.errors import UserError
from turnmix.recipe.recipe import Recipe, load_recipe, recipe_yaml

RECIPE = "minirepo_dagger"
COMMAND = "rollouts.scaffold.command=python agent.py"


def loaded(*overrides):
    notes = []
    return load_recipe(RECIPE, overrides, say=notes.append), notes


def test_a_recipe_that_says_no_scaffold_has_none_of_its_own():
    recipe, notes = loaded()
    assert recipe.rollouts.scaffold is None
    assert recipe.uses_scaffold
    assert notes == []


def test_a_command_alone_says_the_kind_and_the_recipe_is_read_back_as_it_was(tmp_path):
    recipe, _ = loaded(COMMAND, "rollouts.scaffold.seconds=60")
    assert (recipe.rollouts.scaffold.kind, recipe.rollouts.scaffold.seconds) == ("command", 60)
    assert not recipe.uses_scaffold
    assert recipe.offered_tools == ()
    (tmp_path / "again.yaml").write_text(recipe_yaml(recipe))
    assert load_recipe(str(tmp_path / "again.yaml")) == recipe


def test_another_kind_on_the_command_line_leaves_out_what_belongs_to_the_recipes_own(tmp_path):
    (tmp_path / "mine.yaml").write_text(f"extends: {RECIPE}\nrollouts: {{scaffold: {{command: ./agent}}}}\n")
    notes = []
    recipe = load_recipe(
        str(tmp_path / "mine.yaml"),
        ["rollouts.scaffold.kind=external", "evaluation.tasks=0"],
        say=notes.append,
    )
    assert recipe.rollouts.scaffold.kind == "external"
    assert notes == [
        "rollouts.scaffold.kind=external: rollouts.scaffold.command of the recipe left out, with "
        "rollouts.scaffold.kind command"
    ]


def test_a_function_of_the_users_own_is_a_kind_with_the_settings_of_all_kinds(tmp_path, monkeypatch):
    (tmp_path / "own_scaffold.py").write_text("async def solve(call):\n    return None\n")
    monkeypatch.chdir(tmp_path)
    recipe, _ = loaded("rollouts.scaffold.kind=own_scaffold:solve", "rollouts.scaffold.failure=infra_error")
    assert recipe.rollouts.scaffold.failure == "infra_error"
    with pytest.raises(UserError, match=r"rollouts.scaffold.command: unknown key"):
        loaded("rollouts.scaffold.kind=own_scaffold:solve", COMMAND)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            [COMMAND, "rollouts.scaffold.where=here"],
            "rollouts.scaffold.where: 'here': must be 'sandbox' or 'outside'",
        ),
        (
            ["rollouts.scaffold.kind=mine"],
            "rollouts.scaffold.kind: 'mine' is not known: use one of command, external",
        ),
        (["rollouts.scaffold.where=outside"], "rollouts.scaffold.command: not given"),
        (
            [COMMAND, "sandbox.kind=none"],
            "of the kind none a scaffold cannot reach the model",
        ),
        ([COMMAND, "rollouts.accidents.kind=breaking"], "no accident happens to a scaffold of your own"),
        ([COMMAND, "rollouts.scaffold.environment.API_KEY=sk-0a1b2c3d4e5f6071"], "inherited_environment"),
    ],
)
def test_what_cannot_be_is_refused_by_name_before_anything_runs(overrides, told):
    with pytest.raises(UserError) as refused:
        loaded(*overrides)
    assert told in str(refused.value)
    assert len(refused.value.lines) == 1


def test_tasks_without_a_sandbox_need_a_report_for_their_verdict(tmp_path, monkeypatch):
    (tmp_path / "own_words.py").write_text(
        "from turnmix.environments.environment import TaskSettings\n"
        "class Words(TaskSettings):\n    def make(self, parts): return None\n"
    )
    monkeypatch.chdir(tmp_path)
    tasks = {"method": "dagger", "tasks": {"source": "own_words:Words"}}
    command = {"command": "./agent"}
    with pytest.raises(
        ValueError, match=r"rollouts.scaffold.verdict: 'verifier': these tasks have no sandbox"
    ):
        Recipe.model_validate({**tasks, "rollouts": {"scaffold": command}})
    reported = {**command, "verdict": "report"}
    assert Recipe.model_validate({**tasks, "rollouts": {"scaffold": reported}}).rollouts.scaffold
    with pytest.raises(ValueError, match="set it to outside"):
        Recipe.model_validate({**tasks, "rollouts": {"scaffold": {**reported, "where": "sandbox"}}})


def test_settings_of_the_own_scaffold_that_have_no_effect_are_told_and_its_bounds_are_not_among_them():
    _, notes = loaded(
        COMMAND, "scaffold.max_turns=3", "scaffold.max_tokens=999", "scaffold.no_output_seconds=3"
    )
    assert notes == [
        "rollouts.scaffold: scaffold.no_output_seconds has no effect: a scaffold of your own has its own tools, "
        "prompts and limits"
    ]


def test_the_descriptors_of_scaffolds_are_counted_before_a_run():
    native, own = loaded()[0], loaded(COMMAND)[0]
    assert descriptors_needed(own, 10) - descriptors_needed(native, 10) == 10 * OF_A_SCAFFOLD
