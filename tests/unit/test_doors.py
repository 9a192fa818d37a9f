"""Wherever a recipe chooses a kind, code of a user's own can be chosen: its settings are the recipe's."""

import sys

import pytest
import yaml

from turnmix.core.doors import check_settings
from turnmix.core.errors import RecipeError, TurnMixError, UserError
from turnmix.recipe.explanation import explained_yaml
from turnmix.recipe.recipe import Recipe, load_recipe, recipe_yaml, stored_recipe

WORLD = '''
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, field_validator

from turnmix.core.errors import UserError
from turnmix.core.settings import Settings
from turnmix.environments.environment import TaskParts, TaskSettings


class Letters(Settings):
    """Of which words are made."""

    first: str = "a"
    """The first letter."""


class Words(TaskSettings):
    """Words to be guessed. There are many."""

    size: int = Field(default=3, ge=1)
    """Letters of a word."""
    letters: Letters = Letters()
    """Which letters."""
    file: Path | None = None
    """Where words come from."""

    @field_validator("size")
    @classmethod
    def _known(cls, size):
        return {13: {}[size]} if size == 13 else size

    def make(self, parts: TaskParts):
        return [][self.size]


class Unmade(TaskSettings):
    """Lacks what makes its tasks."""


def function(): ...
'''


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A package outside the tree, beside which the user works."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_world.py").write_text(WORLD)
    (tmp_path / "words.yaml").write_text("method: dagger\ntasks: {source: 'my_world:Words', size: 5}\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def complaints(*overrides, recipe="words.yaml"):
    with pytest.raises(RecipeError) as raised:
        load_recipe(recipe, overrides)
    return list(raised.value.lines)


def fault(*overrides):
    with pytest.raises(TurnMixError) as raised:
        load_recipe("words.yaml", overrides)
    (line,) = raised.value.lines
    return line


def test_a_plugins_own_settings_are_kept_and_read_back_from_what_is_stored(world):
    recipe = load_recipe(
        "minirepo_dagger", ["tasks.source=my_world:Words", "tasks.size=7", "tasks.letters.first=b"]
    )
    assert (recipe.tasks.size, recipe.tasks.letters.first) == (7, "b")
    stored = yaml.safe_load(recipe_yaml(recipe))["tasks"]
    assert stored == {"source": "my_world:Words", "size": 7, "letters": {"first": "b"}, "file": None}
    (world / "stored.yaml").write_text(recipe_yaml(recipe))
    assert load_recipe("stored.yaml") == recipe


def test_settings_that_are_made_in_python_make_the_same_recipe(world):
    recipe = load_recipe("words.yaml")
    made = type(recipe.tasks)(size=5)
    assert Recipe(method="dagger", tasks=made) == recipe


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("tasks.sise=3", "tasks.sise: unknown key of my_world:Words; did you mean 'size'?"),
        ("tasks.xyz=3", "tasks.xyz: unknown key of my_world:Words; known keys: source, size, letters, file"),
        ("tasks.train=3", "tasks.train: unknown key of my_world:Words; "),
        (
            "tasks.path=x",
            "tasks.path: unknown key of my_world:Words; did you mean 'path', a key where tasks.source is file?",
        ),
        (
            "tasks=my_world:Words",
            "tasks: 'my_world:Words': must have keys of its own; did you mean {source: my_world",
        ),
        ("tasks.letters.frist=b", "tasks.letters.frist: unknown key; did you mean 'first'?"),
        ("tasks.size=0", "tasks.size: 0: must be greater than or equal to 1"),
        ("size=3", "size: unknown key; did you mean 'tasks.size'?"),
        (
            "tasks.source=my_world.Words",
            "tasks.source: 'my_world.Words' is not known: use one of minirepo, file, foreign, babyai, gymnasium",
        ),
        (
            "tasks.source=galaxy",
            "tasks.source: 'galaxy' is not known: use one of minirepo, file, foreign, babyai, gymnasium, ",
        ),
        (
            "sandbox.kind=my_world:Nowhere",
            "sandbox.kind: 'my_world:Nowhere': there is no Nowhere in my_world.py",
        ),
    ],
)
def test_a_mistake_in_a_plugins_settings_is_told_as_one_in_the_recipes_own(world, override, told):
    (line,) = complaints(override) if "Nowhere" not in override else [fault(override)]
    assert line.startswith(told)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "tasks.source=my_world:function",
            "tasks.source: 'my_world:function': a function that is no subclass of "
            "turnmix.environments.environment.TaskSettings: did you mean 'my_world:Words' or 'my_world:Unmade'?",
        ),
        (
            "sandbox.kind=my_world:Words",
            "sandbox.kind: 'my_world:Words': a class that is no subclass of turnmix.sand",
        ),
        (
            "tasks.source=my_world:Unmade",
            "tasks.source: 'my_world:Unmade': it has no make of its own: see turnmix.env",
        ),
        (
            "method=my_world.METHOD",
            "method: 'my_world.METHOD' is not known: use one of sft, grpo, opd, dagger, ",
        ),
        (
            "data.filter=my_world.keep",
            "data.filter: 'my_world.keep': must be submitted, resolved, finished, all, or ",
        ),
        (
            "trackers=my_world:Wods",
            "trackers: 'my_world:Wods': there is no Wods in my_world.py; did you mean 'Words'",
        ),
        ("tasks.size=13", "my_world.py:32 (my_world:Words): KeyError: 13"),
    ],
)
def test_what_is_no_plugin_for_this_door_or_fails_as_it_is_validated_is_told_in_one_line(
    world, override, told
):
    assert fault(override).startswith(told)
    if "=my_world." in override:
        assert fault(override).endswith(f"did you mean {override.partition('=')[2].replace('.', ':')!r}?")


def test_a_plugins_settings_are_explained_with_their_docstrings(world):
    recipe = load_recipe("words.yaml")
    text = explained_yaml(recipe)
    assert "  # Letters of a word. (integer ≥ 1)\n  size: 5\n" in text
    assert "    # The first letter. (text)\n    first: a\n" in text
    assert "my_world:Words: words to be guessed;" in " ".join(text.replace("#", "").split())
    (world / "explained.yaml").write_text(text)
    assert load_recipe("explained.yaml") == recipe


def test_another_source_leaves_the_settings_of_the_one_before_out(world):
    said = []
    recipe = load_recipe("words.yaml", ["tasks.source=minirepo"], say=said.append)
    assert recipe.tasks.source == "minirepo"
    assert said == [
        "tasks.source=minirepo: tasks.size of the recipe left out, with tasks.source my_world:Words",
    ]


def test_a_stored_recipe_is_read_without_importing_its_plugins(world):
    text = recipe_yaml(load_recipe("words.yaml"))
    for name in ("stored", "again"):
        (world / f"{name}.yaml").write_text(text)
    del sys.modules["my_world"]
    stored = stored_recipe(world / "stored.yaml")
    assert recipe_yaml(stored) == text
    assert "my_world" not in sys.modules
    # Neither asked whether it is ready, as before a run, nor made, as before an evaluation.
    for act in (check_settings, lambda tasks: tasks.make(None)):
        with pytest.raises(
            UserError, match=r"tasks.source: 'my_world:Words': this recipe was read without its code"
        ):
            act(stored.tasks)
    assert stored_recipe(world / "again.yaml", imported={"my_world:Words"}).tasks.size == 5


def test_a_recipe_whose_code_is_gone_is_read_in_every_door_and_written_again_as_it_was(world):
    data = yaml.safe_load(recipe_yaml(load_recipe("minirepo_dagger")))
    for section, tag in (
        ("tasks", "source"),
        ("sandbox", "kind"),
        ("teacher", "kind"),
        ("mixture", "kind"),
        ("objective", "kind"),
    ):
        data[section] = {tag: f"gone.{section}:Name", "own": {"a": [1]}}
    data["objective"] |= {"average": "token", "kl_weight": 0.0}
    data |= {"method": "gone:METHOD", "trackers": ["gone:Tracker"]}
    data["data"]["filter"] = "gone:keeps"
    data["scaffold"]["tools"] = ["finish", {"kind": "gone:Tool", "own": 1}]
    (world / "gone.yaml").write_text(yaml.safe_dump(data))
    assert yaml.safe_load(recipe_yaml(stored_recipe(world / "gone.yaml"))) == data


def test_a_settings_class_that_is_none_is_told_where_it_stands(world):
    for text, told in (
        (
            "class Words(TaskSettings):\n    size = 3",
            "my_world.py:2 (my_world:Words): PydanticUserError: A non-annotated",
        ),
        (
            "class Words(TaskSettings):\n    size: Siz = 3",
            "my_world.py:3 (my_world:Words): NameError: name 'Siz'",
        ),
    ):
        sys.modules.pop("my_world", None)
        (world / "my_world.py").write_text(
            f"from turnmix.environments.environment import TaskSettings\n{text}\n"
        )
        assert fault().startswith(f"tasks.source: {told}")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "check: int = 3",
            "tasks.source: 'my_world:Words': its field check hides turnmix.environments.environment.",
        ),
        ("source: int = 3", "tasks.source: 'my_world:Words': its field source is no text: leave it out"),
        ("size: int = 'three'", "my_world.py:3 (my_world:Words): PydanticSerializationError: "),
        (
            "@model_validator(mode='after')\n    def _all(self): ...",
            "my_world.py:3 (my_world:Words): TypeError: a validator of it returned None: return self",
        ),
        (
            "@model_validator(mode='after')\n    def _all(self): assert not self",
            "tasks: my_world.py:5: AssertionError",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Field name")
def test_settings_that_hide_what_is_asked_of_them_or_are_not_what_they_say_are_told(world, body, told):
    sys.modules.pop("my_world", None)
    (world / "my_world.py").write_text(
        "from pydantic import model_validator\nfrom turnmix import TaskSettings\nclass Words(TaskSettings):\n"
        f"    {body}\n    def make(self, parts): ...\n"
    )
    assert fault("tasks={source: 'my_world:Words'}").startswith(told)
