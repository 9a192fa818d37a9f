"""Numbers that are not finite: they stop learning before they are learned, and never reach a file."""

import ast
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_student import SIZES, CharacterRenderer, batch, digest, settings, tiny_model, transition
from transformers import Qwen3Config, Qwen3ForCausalLM

import turnmix
from turnmix.core.errors import TrainingError
from turnmix.core.json_text import json_text
from turnmix.core.transition import compared
from turnmix.store.append_log import AppendLog
from turnmix.training.learner import Learner
from turnmix.training.objective import Objective, reverse_kl
from turnmix.training.objective_settings import ClippedRatioSettings, ReverseKlSettings

ROOT = Path(turnmix.__file__).parent
POISON = 2 + ord("z") % 62
"""The token of the letter z."""


def poisoned_teacher(value):
    """A model whose numbers overflow wherever it reads a z."""
    torch.manual_seed(1)
    model = Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=False))
    model.get_input_embeddings().weight.data[POISON] = value
    return model.requires_grad_(False)


@pytest.mark.parametrize("estimate", ["top_k", "full"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_names_step_and_trajectory_and_moves_no_weight(estimate, value):
    made = Objective(
        ReverseKlSettings(estimate=estimate),
        teacher=poisoned_teacher(value),
        vocabulary=64,
    )
    model, steps = tiny_model(), []
    learner = Learner(model, CharacterRenderer(), settings(batch_size=99, epochs=1), objective=made)
    good, bad = batch(3), transition(["open z"], "done", trajectory="the bad one")
    with pytest.raises(TrainingError, match=r"step 1 of 1: the loss is nan.* by the bad one: no"):
        learner.fit([*good, bad], generator=random.Random(0), on_step=steps.append)
    assert (digest(model), learner.steps, steps) == (digest(tiny_model()), 0, [])
    learner.fit(good, generator=random.Random(0))
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("batch_size", "place"), [(99, "after step 1 of 1"), (1, "before step 2 of 2")])
def test_weights_that_are_not_finite_are_told_as_such_and_not_laid_at_a_trajectorys_door(batch_size, place):
    learner = Learner(
        tiny_model(), CharacterRenderer(), settings(learning_rate=1e39, epochs=1, batch_size=batch_size)
    )
    with pytest.raises(
        TrainingError, match=f"^{place}: weights are not finite: learner.learning_rate is too"
    ):
        learner.fit(batch(2), generator=random.Random(0))


@pytest.mark.parametrize("reference", [-60.0, -200.0, -999.0, 60.0, 200.0])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_a_ratio_to_a_probability_that_cannot_be_is_a_number_and_teaches_none(reference, advantage):
    learner = Learner(
        tiny_model(),
        CharacterRenderer(),
        settings(batch_size=99, epochs=1),
        objective=Objective(ClippedRatioSettings()),
    )
    odd = replace(
        transition(["open"], "a", trajectory="odd"), weight=advantage, reference_logprobs=(reference,) * 2
    )
    steps = []
    report = learner.fit([odd], generator=random.Random(0), on_step=steps.append)
    assert math.isfinite(report.last_epoch_loss)
    assert steps[0].gradient_norm == 0


def test_a_divergence_from_a_policy_that_rules_tokens_out_is_a_number():
    ours, theirs = torch.randn(4, 9, requires_grad=True), torch.randn(4, 9)
    theirs[:, 3:] = float("-inf")
    for top_k in (None, 2, 5):
        divergence = reverse_kl(ours, theirs, top_k)
        divergence.sum().backward()
        assert divergence.isfinite().all()
    assert ours.grad.isfinite().all()


def test_a_number_that_is_not_finite_is_written_as_null(tmp_path):
    log = AppendLog(tmp_path / "log")
    log.append_record({"id": "a", "losses": [1.0, float("nan")], "by": {"x": (float("-inf"),)}})
    log.close()
    strict = json.loads((tmp_path / "log").read_text(), parse_constant=pytest.fail)
    assert strict == {"id": "a", "losses": [1.0, None], "by": {"x": [None]}}


def test_every_json_that_is_written_is_json():
    """`json.dumps` writes NaN unless it is told not to."""
    careless = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("dump", "dumps")
        and getattr(node.func.value, "id", "") == "json"
        and not any(keyword.arg == "allow_nan" for keyword in node.keywords)
    ]
    assert careless == []
    assert json_text({"a": float("inf")}, separators=(",", ":")) == '{"a":null}'


@pytest.mark.parametrize("missing", [None, float("nan"), float("-inf")])
def test_a_log_probability_of_an_older_record_that_is_no_number_is_missing(missing):
    told = compared(transition(["open a"], "hi"), [-1.0, missing])
    assert (told.weight, told.reference_logprobs) == ((1.0, 0.0), (-1.0, 0.0))
