"""The section `student.server` of a recipe."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from turnmix.core.errors import RecipeError
from turnmix.policies.server.settings import ServerSettings
from turnmix.recipe.recipe import load_recipe, recipe_yaml

ROOT = Path(__file__).parents[2]


def test_a_student_acts_in_this_process_unless_it_is_given_a_server():
    assert load_recipe(f"{ROOT}/recipes/minirepo_dagger.yaml").student.server is None


def test_naming_an_engine_is_enough():
    recipe = load_recipe(f"{ROOT}/recipes/minirepo_dagger.yaml", ["student.server.engine=vllm"])
    assert recipe.student.server == ServerSettings()


@pytest.mark.parametrize("method", ["grpo", "opd"])
def test_methods_that_learn_from_sampled_tokens_refuse_an_engine_that_returns_none(method):
    with pytest.raises(RecipeError, match=r"student\.server\.engine: 'transformers'.*tokens"):
        load_recipe(f"{ROOT}/recipes/minirepo_{method}.yaml", ["student.server.engine=transformers"])


@pytest.mark.parametrize("method", ["dagger", "sft", "aggrevate", "oec"])
def test_methods_that_learn_from_text_take_any_engine(method):
    load_recipe(f"{ROOT}/recipes/minirepo_{method}.yaml", ["student.server.engine=transformers"])


def test_grpo_acts_through_vllm():
    load_recipe(f"{ROOT}/recipes/minirepo_grpo.yaml", ["student.server.engine=vllm"])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"endpoint": "http://host:8000/v1", "port": 8000}, "port is for a server that TurnMix starts"),
        ({"endpoint": "http://host:8000/v1", "arguments": ["--x"]}, "arguments is for a server"),
        ({"model": "x"}, "give the endpoint too"),
        ({"engine": "transformers", "endpoint": "http://h/v1", "model": "x"}, "leave model out"),
        ({"engine": "transformers", "arguments": ["--continuous-batching"]}, "--continuous-batching"),
        ({"endpoint": "host:8000"}, "http://"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(given, named):
    with pytest.raises(ValidationError, match=named):
        ServerSettings(**given)


def test_credentials_of_an_endpoint_are_neither_stored_nor_shown():
    settings = ServerSettings(endpoint="https://me:secret@host/v1")
    assert "secret" not in repr(settings)
    assert "secret" not in settings.model_dump_json()


def test_a_recipe_with_a_server_reads_back_as_itself(tmp_path):
    recipe = load_recipe(
        f"{ROOT}/recipes/minirepo_dagger.yaml",
        ["student.server.engine=vllm", "student.server.arguments=[--gpu-memory-utilization=0.5]"],
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_yaml(recipe))
    assert load_recipe(str(path)) == recipe
