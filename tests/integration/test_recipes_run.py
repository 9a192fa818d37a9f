"""Every shipped recipe of the embedded tasks runs, for two small iterations."""

import json

import pytest

from turnmix.cli import main

SMALL = [
    "iterations=2",
    "tasks.train=40",
    "tasks.holdout=8",
    "student.cohort_size=4",
    "student.max_new_tokens=16",
    "scaffold.max_turns=3",
    "rollouts.tasks_per_iteration=2",
    "rollouts.samples_per_task=2",
    "data.filter=all",
    "evaluation.tasks=2",
    "evaluation.base=false",
]
REPORTED = {
    "sft": {"targets_malformed", "targets_unwritable", "targets_missing", "mean_weight"},
    "dagger": {"targets_malformed", "targets_unwritable", "targets_missing", "mean_weight"},
    "aggrevate": {"targets_malformed", "targets_unwritable", "targets_missing", "mean_weight"},
    "oec": {"targets_malformed", "targets_unwritable", "mean_weight"},
    "on_policy_labels": {"targets_malformed", "targets_unwritable", "targets_missing", "mean_weight"},
    "sft_accidents": {"targets_malformed", "targets_unwritable", "targets_missing", "mean_weight"},
    "opd": {"kl_teacher"},
    "guided_opd": {"kl_teacher"},
    "tcod_forward": {"kl_teacher"},
    "tcod_backward": {"kl_teacher"},
    "reopd": {"kl_teacher"},
    "gkd": {"targets_malformed", "targets_unwritable", "kl_teacher"},
}
SHORT = {
    "aggrevate": ["mixture.support=[0,2]"],
    "oec": ["mixture.support=[0,2]"],
    "sft_accidents": ["rollouts.accidents.turns=[2,2]", "rollouts.accidents.share=1"],
    "guided_opd": ["mixture.start=0.5"],
    "tcod_forward": ["mixture.growth=1"],
    "tcod_backward": ["mixture.support=[0,1]", "mixture.shrink=1"],
    "reopd": ["mixture.support=[0,1]", "mixture.student_turns=1"],
}
"""What else is small in three turns."""
TEACHER_SHARE = {
    **{name: (0.1, 0.9) for name in ("guided_opd", "tcod_forward", "reopd")},
    "tcod_backward": (0, 0.6),
    "on_policy_labels": (0, 0),
    "sft_accidents": (1, 1),
}
"""Bounds, in both iterations."""


def run(path, method, recipes, *overrides):
    recipe = str(recipes / f"minirepo_{method}.yaml")
    assert main(["train", recipe, "--run", str(path), *SMALL, *overrides]) == 0
    return json.loads((path / "summary.json").read_text())


@pytest.fixture
def recipes(request):
    return request.config.rootpath / "recipes"


@pytest.mark.parametrize("method", REPORTED)
def test_a_recipe_runs_for_two_iterations(method, recipes, tmp_path):
    overrides = list(SHORT.get(method, []))
    if "kl_teacher" in REPORTED[method]:
        overrides += ["teacher.model=nano-student"]
    summary = run(tmp_path / "run", method, recipes, *overrides)
    assert (summary["method"], summary["is_complete"]) == (method.removesuffix("_accidents"), True)
    for row in summary["iterations"]:
        assert (row["rollouts"], row["infra_errors"]) == (4, 0)
        assert row["labels"] > 0
        assert set(row["objective"]) == REPORTED[method]
        least, most = TEACHER_SHARE.get(method, (0, 1))
        assert least <= row["realised_beta"] <= most
    assert (tmp_path / "run" / "checkpoints" / "iteration-002" / "model.safetensors").is_file()


def test_opd_from_the_student_itself_finds_no_divergence_before_it_learns(recipes, tmp_path):
    overrides = ["teacher.model=nano-student", "objective.estimate=sampled", "iterations=1"]
    summary = run(tmp_path / "run", "opd", recipes, *overrides)
    assert summary["iterations"][0]["objective"]["kl_teacher"] == pytest.approx(0, abs=1e-5)
    scores = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    assert [each["id"] for each in scores] == [f"i001-0000{number}" for number in range(4)]


@pytest.mark.parametrize("estimate", ["top_k", "full"])
def test_opd_runs_with_the_teacher_beside_the_student(estimate, recipes, tmp_path):
    # AdamW makes steps of any gradient, also of one that is rounding alone: small ones here.
    overrides = ["teacher.model=nano-student", f"objective.estimate={estimate}", "iterations=1"]
    overrides += ["learner.learning_rate=1e-6"]
    summary = run(tmp_path / "run", "opd", recipes, *overrides)
    assert summary["iterations"][0]["objective"]["kl_teacher"] == pytest.approx(0, abs=1e-5)


def test_grpo_reports_its_groups_and_learns_nothing_where_none_has_spread(recipes, tmp_path):
    """In three turns nobody resolves a task: all rewards are 0."""
    summary = run(tmp_path / "run", "grpo", recipes)
    for row in summary["iterations"]:
        assert (row["labels"], row["loss"]) == (0, None)
        assert row["objective"] == {"groups": 2, "groups_without_spread": 2}


def test_the_drift_from_the_base_student_is_reported_where_it_is_held_back(recipes, tmp_path):
    first, second = run(tmp_path / "run", "dagger", recipes, "objective.kl_weight=0.1")["iterations"]
    assert min(first["objective"]["kl_base"], second["objective"]["kl_base"]) > 0.001
