"""Runs of a sweep share what is provably the same, and nothing else."""

from contextlib import closing

import pytest
from stored_runs import COMPARISON

from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.running.comparison_file import comparison_of
from turnmix.running.sweep_arms import planned_runs
from turnmix.running.sweep_sharing import PARTS, Sharing
from turnmix.store.run_directory import RunDirectory

ROLLOUTS = ["first rollouts"]
BASE = ["base evaluation"]
BOTH = [*BASE, *ROLLOUTS]


def shared(first, second):
    recipes = [load_recipe("minirepo", words.split()) for words in (first, second)]
    keys = [[part.key(recipe) for recipe in recipes] for part in PARTS]
    return [part.name for part, (a, b) in zip(PARTS, keys, strict=True) if a is not None and a == b]


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        ("method=sft", "method=dagger", BOTH),
        ("method=dagger mixture.floor=0", "method=dagger mixture.decay=0.1", BOTH),
        ("method=dagger mixture.start=0.7", "method=dagger mixture.start=0.7 mixture.decay=0.05", BOTH),
        ("method=sft", "method=sft learner.epochs=7 data.filter=all iterations=9", BOTH),
        ("method=sft evaluation.tasks=5", "method=dagger evaluation.tasks=6", ROLLOUTS),
        # The student acts in some turns, and in other ones.
        ("method=sft", "method=dagger mixture.start=0.9", BASE),
        ("method=sft", "method=aggrevate", BASE),
        # Alike in who acts, not in what is asked.
        ("method=aggrevate", "method=oec", BASE),
        (
            "method=sft rollouts.accidents.kind=breaking",
            "method=dagger rollouts.accidents.kind=breaking",
            BASE,
        ),
        ("method=sft rollouts.accidents.kind=breaking", "method=sft", BASE),
        ("method=sft", "method=dagger rollouts.samples_per_task=2", BASE),
        ("method=sft", "method=dagger rollouts.tasks_per_iteration=9", BASE),
        # The same number of rollouts, of the student alone: the objective may decide what a model here computes.
        (
            "method=grpo",
            "method=opd rollouts.samples_per_task=8 teacher.kind=local teacher.model=nano-teacher",
            BASE,
        ),
        ("method=sft evaluation.tasks=0", "method=dagger evaluation.tasks=0", ROLLOUTS),
        ("method=sft evaluation.base=false", "method=dagger evaluation.base=false", ROLLOUTS),
        ("method=sft evaluation.base=true", "method=dagger", ROLLOUTS),
        *(
            ("method=sft", f"method=dagger {word}", [])
            for word in (
                *("seed=1", "threads=2", "tasks.seed=1", "scaffold.max_turns=3", "student.temperature=0.5"),
                *(
                    "student.cohort_size=2",
                    "rollouts.concurrency=3",
                    "rollouts.attempts=1",
                    "sandbox.kind=none",
                ),
                *("learner.max_context=4000", "learner.tokens_per_pass=99"),
            )
        ),
    ],
)
def test_only_what_no_setting_can_have_changed_is_shared(first, second, parts):
    assert shared(first, second) == parts
    assert shared(second, first) == parts


def test_a_run_waits_while_another_makes_what_it_could_take_and_no_longer(tmp_path):
    runs = planned_runs(comparison_of(COMPARISON))
    sharing = Sharing(runs, directory=tmp_path)
    sft, dagger, *of_other_seed = runs
    assert not sharing.is_worth_waiting(dagger, [])
    assert sharing.is_worth_waiting(dagger, [sft.name])
    assert not sharing.is_worth_waiting(dagger, [run.name for run in of_other_seed])
    with closing(RunDirectory.create(tmp_path / sft.name, recipe_yaml=recipe_yaml(sft.recipe))) as run:
        assert sharing.take(dagger) is None
        run.record_stage("rollout", 1, {"rollouts": 0})
        assert not (tmp_path / dagger.name).exists()
    assert not sharing.is_worth_waiting(dagger, [sft.name])
    # Another recipe lies where the run of a name should be.
    (tmp_path / sft.name / "recipe.yaml").write_text(recipe_yaml(dagger.recipe))
    assert sharing.take(dagger) is None
    assert not (tmp_path / dagger.name).exists()
