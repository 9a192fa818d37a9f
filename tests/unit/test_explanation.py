"""`turnmix train RECIPE --explain`: every setting with what it means and what it may be."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from turnmix.methods.registry import METHODS
from turnmix.recipe.explanation import explained_yaml
from turnmix.recipe.field_docstrings import field_docstrings
from turnmix.recipe.recipe import Recipe, load_recipe
from turnmix.recipe.setting_search import sections_of
from turnmix.teachers.endpoint import EndpointTeacherSettings

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.fixture
def explained(tmp_path):
    def explain(text):
        path = tmp_path / "one.yaml"
        path.write_text(text)
        return explained_yaml(load_recipe(str(path)))

    return explain


def classes_in(settings):
    """A settings class and all that a recipe may hold below it."""
    yield settings
    for field in settings.model_fields.values():
        for below in sections_of(field):
            yield from classes_in(below)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_explained_recipe_reads_back_as_the_recipe_and_fits_into_80_columns(path, tmp_path):
    recipe = load_recipe(str(path), ["method=dagger"] if path.stem == "minirepo" else [])
    text = explained_yaml(recipe)
    (tmp_path / "explained.yaml").write_text(text)
    assert load_recipe(str(tmp_path / "explained.yaml")) == recipe
    assert [line for line in text.split("\n") if len(line) > 80] == []


def test_no_setting_of_a_recipe_lacks_a_docstring():
    lacking = [
        f"{settings.__name__}.{name}"
        for settings in classes_in(Recipe)
        for name in settings.model_fields
        if name not in field_docstrings(settings)
    ]
    assert lacking == []


def test_the_methods_are_named():
    meaning = field_docstrings(Recipe)["method"]
    assert [name for name in METHODS if name not in meaning] == []


def test_a_class_that_inherits_a_setting_inherits_its_docstring():
    assert "variable that holds the key" in field_docstrings(EndpointTeacherSettings)["api_key_environment"]


@pytest.mark.parametrize(
    "lines",
    [
        "  # Turns of one trajectory. (integer ≥ 1)\n  max_turns: 30\n",
        "  # Peak learning rate of AdamW. (number > 0)\n  learning_rate: 3.0e-06\n",
        "(float32 or bfloat16)\n  dtype: float32\n",
        "(number > 0, or null)\n  gradient_clip: 1.0\n",
        "  # Number of training tasks. (integer ≥ 1 and ≤ 1,000,000)\n  train: 4000\n",
        "([integer, integer])\n  modules: [3, 5]\n",
        "that learning is seen sooner. (true or false, or late)\n  base: true\n",
    ],
)
def test_what_a_setting_may_be_stands_behind_what_it_means(explained, lines):
    assert lines in explained("method: dagger")


def test_a_section_chosen_by_its_kind_names_the_other_kinds_and_what_they_need(explained):
    text = " ".join(explained("method: dagger").replace("#", "").split())
    for told in (
        "oracle: the privileged teacher that knows each task's solution; endpoint: a teacher behind",
        "endpoint (give endpoint and model); local: a teacher in this process (give model);",
        "minirepo: the embedded tasks; file: real repositories, from a task file (give path); foreign: tasks of your "
        "own, which a scaffold of your own works on and judges (give path); babyai: tasks of BabyAI; "
        "gymnasium: tasks of a Gymnasium environment (give environment); textworld: tasks of TextWorld; ",
        "harbor: tasks in Harbor's format, each in a container of its own (give path)",
        "; or package.module:Name.",
    ):
        assert told in text


def test_a_section_that_is_left_out_is_explained_in_comments_that_can_be_taken_into_use(explained):
    lines = explained("method: dagger").split("\n")
    start = lines.index("  lora: null")
    section = [line.removeprefix("  # ") for line in lines[start + 1 :]]
    section = section[: next(number for number, line in enumerate(section) if not line)]
    assert yaml.safe_load("\n".join(section)) == {
        "lora": {"rank": 16, "alpha": 32, "target_modules": "all-linear"}
    }


def test_credentials_are_not_in_an_explained_recipe(explained):
    text = explained("method: dagger\nteacher: {endpoint: 'https://me:hush@host/v1', model: m}")
    assert "host/v1" in text
    assert "hush" not in text


def test_reading_a_recipe_reads_no_source_for_docstrings():
    code = (
        "import inspect, turnmix.recipe.recipe\n"
        "from turnmix.core.settings import Settings\n"
        "assert not Settings.model_config.get('use_attribute_docstrings')\n"
        "assert turnmix.recipe.recipe.Recipe.model_fields['seed'].description is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
