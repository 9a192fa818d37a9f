"""Each option of the objective against the same loss written slowly: every transition alone, token by token."""

import random
from dataclasses import replace

import pytest
import torch
from own_loss import Focal
from tiny_student import CharacterRenderer, batch, settings, tiny_model

from turnmix.core.errors import PluginError
from turnmix.training.learner import Learner
from turnmix.training.objective import Objective
from turnmix.training.objective_settings import (
    OBJECTIVES,
    ClippedRatioSettings,
    CrossEntropySettings,
    ReverseKlSettings,
)
from turnmix.training.token_loss import reverse_kl

RENDERER = CharacterRenderer()
VOCABULARY = 60
"""Of 64 rows of logits: the rest is padding, to an objective that compares with a teacher."""


KINDS = {**OBJECTIVES, "own": Focal}


def rollouts(seed=0, num_trajectories=6):
    """Rollouts of three tasks, of one to four turns, with weights of both signs, and what a teacher and an older
    student thought of each token."""
    generator = random.Random(seed)
    made = []
    for index, item in enumerate(batch(num_trajectories, seed)):
        trajectory, turn = divmod(index, 4)
        if turn > trajectory % 4:
            continue
        size = len(RENDERER.target_ids(item.state, item.target))
        thoughts = [[-generator.uniform(1, 7) for _ in range(size)] for _ in range(2)]
        made.append(
            replace(
                item,
                weight=generator.choice([1.5, -0.5, -1.0, 2.0]),
                reference_logprobs=tuple(thoughts[0]),
                sampled_logprobs=tuple(thoughts[1]),
                task_id=str(trajectory % 3),
            )
        )
    return made


def slow_loss(model, items, options, *, temperature, base):
    """The loss by its definition."""
    by_trajectory = {}
    for item in items:
        prompt = RENDERER.prompt_ids(item.state)
        target = RENDERER.target_ids(item.state, item.target)
        ids = torch.tensor([prompt + target])
        rows = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        base_rows = base(input_ids=ids).logits[0, len(prompt) - 1 : -1].detach()
        for place, token in enumerate(target):
            logits = rows[place][: VOCABULARY if options.kind == "reverse_kl" else None]
            logprob, w = logits.log_softmax(-1)[token], item.weight
            tempered = (rows[place] / temperature).log_softmax(-1)[token]
            if options.kind == "cross_entropy":
                loss = -w * logprob
            elif isinstance(options, Focal):
                loss = -(w**2) * (1 - logprob.exp()) ** 2 * logprob
            elif options.kind == "clipped_ratio":
                loss = slow_clip(tempered - item.reference_logprobs[place], w, options)
            else:
                w = w * (item.reference_logprobs[place] - logprob.item())
                loss = -w * logprob
                if options.has_ratio:
                    loss = slow_clip(tempered - item.sampled_logprobs[place], w, options)
            loss = loss + options.kl_weight * reverse_kl(rows[place][None], base_rows[place][None])[0]
            by_trajectory.setdefault(item.trajectory_id, []).append(loss)
    if options.average == "token":
        tokens = [loss for losses in by_trajectory.values() for loss in losses]
        return sum(tokens) / len(tokens)
    return sum(sum(losses) / len(losses) for losses in by_trajectory.values()) / len(by_trajectory)


def slow_clip(log_ratio, weight, options):
    ratio = log_ratio.exp()
    kept = min(ratio * weight, ratio.clamp(1 - options.clip_low, 1 + options.clip_high) * weight)
    if options.dual_clip is not None and weight < 0 and kept < options.dual_clip * weight:
        return -torch.tensor(options.dual_clip * weight)
    return -kept


CASES = {
    "imitation, by token": ("cross_entropy", {"average": "token"}),
    "imitation, by trajectory": ("cross_entropy", {"average": "trajectory", "kl_weight": 0.3}),
    "a loss of one's own, by token": ("own", {"kl_weight": 0.2}),
    "a loss of one's own, by trajectory": ("own", {"average": "trajectory"}),
    "ratio, by trajectory": ("clipped_ratio", {"average": "trajectory", "clip_high": 0.3}),
    "ratio, dual clip": ("clipped_ratio", {"dual_clip": 1.5, "kl_weight": 0.2}),
    "distillation, by trajectory": ("reverse_kl", {"average": "trajectory"}),
    "distillation, ratio": ("reverse_kl", {"ratio": True}),
    "distillation, ratio and all else": (
        "reverse_kl",
        {"ratio": True, "dual_clip": 1.4, "average": "trajectory", "kl_weight": 0.1},
    ),
}


@pytest.mark.parametrize("tree", ["trajectory", "task"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", CASES)
def test_an_option_is_its_definition(name, temperature, tree):
    kind, given = CASES[name]
    options, items = KINDS[kind](**given), rollouts()
    base, steps = tiny_model(1), []
    made = Objective(
        options,
        base=base if options.kl_weight else None,
        vocabulary=VOCABULARY if kind == "reverse_kl" else None,
        temperature=temperature,
    )
    changes = {"batch_size": 99, "epochs": 1, "gradient_clip": None, "tokens_per_pass": 60, "tree": tree}
    learner = Learner(tiny_model(), RENDERER, settings(**changes), objective=made)
    report = learner.fit(items, generator=random.Random(0), on_step=steps.append)

    student = tiny_model()
    expected = slow_loss(student, items, options, temperature=temperature, base=base)
    expected.backward()
    found = learner.state_dict()["optimizer"]["state"]
    assert steps[0].loss == pytest.approx(expected.item(), rel=1e-5)
    assert report.first_epoch_loss == steps[0].loss
    for weight, parameter in student.named_parameters():  # AdamW's first moment is (1 − β₁) · gradient
        gradient = found[weight]["exp_avg"] / 0.1
        assert (gradient - parameter.grad).norm() <= 2e-5 * parameter.grad.norm() + 1e-8, weight


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (
            lambda tokens: tokens.logprobs(),
            "the loss returned 1 tensors, and must return 2: the loss, confidence",
        ),
        (lambda tokens: (tokens.logprobs().sum(), tokens.weights_C), "the loss is a tensor of shape [] for"),
        (lambda tokens: (tokens.logprobs(), 0.5), "confidence is float for"),
        (lambda tokens: (tokens.logprobs().detach(), tokens.weights_C), "the loss has no gradient"),
        (lambda tokens: tokens.logits, "AttributeError: 'TaughtTokens' object has no attribute 'logits'"),
    ],
)
def test_a_loss_of_ones_own_that_is_none_is_told_by_its_name(loss, told):
    class Wrong(Focal):
        def make(self, parts):
            return loss

    learner = Learner(tiny_model(), RENDERER, settings(), objective=Objective(Wrong(kind="own:Focal")))
    with pytest.raises(PluginError) as error:
        learner.fit(rollouts(), generator=random.Random(0))
    assert "(own:Focal): " in str(error.value)
    assert told in str(error.value)


def test_by_trajectory_a_long_rollout_weighs_as_much_as_a_short_one():
    """One rollout of weight 1 with one turn, one of weight −1 with four."""
    items = rollouts(num_trajectories=4)
    short, long = items[0], items[-4:]
    taught = [replace(short, weight=1.0), *(replace(item, weight=-1.0) for item in long)]
    weights = {}
    for average in ("token", "trajectory"):
        made = Objective(CrossEntropySettings(average=average))
        learner = Learner(tiny_model(), RENDERER, settings(batch_size=2, epochs=1), objective=made)
        weights[average] = learner.fit(taught, generator=random.Random(0)).objective["mean_weight"]
    assert weights["trajectory"] == pytest.approx(0, abs=1e-6)
    assert weights["token"] < -0.5


def test_a_ratio_is_1_where_a_student_at_any_temperature_has_learned_nothing_yet():
    """Its tokens' log π at temperature 0.7, as its sampler tells them."""
    items, model = [], tiny_model()
    for item in rollouts():
        prompt, target = RENDERER.prompt_ids(item.state), RENDERER.target_ids(item.state, item.target)
        rows = model(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1] / 0.7
        own = rows.log_softmax(-1)[range(len(target)), target].tolist()
        items.append(replace(item, reference_logprobs=tuple(own), weight=1.0))
    losses, clipped = {}, {}
    for temperature in (0.7, 1.0):
        options = ClippedRatioSettings(clip_low=0.02, clip_high=0.02)
        made, steps = Objective(options, temperature=temperature), []
        learner = Learner(tiny_model(), RENDERER, settings(batch_size=99), objective=made)
        report = learner.fit(items, generator=random.Random(0), on_step=steps.append)
        losses[temperature], clipped[temperature] = steps[0].loss, report.objective["first_step_clip_share"]
    assert losses[0.7] == pytest.approx(-1.0, abs=1e-5)
    assert abs(losses[1.0] + 1) > 1e-3
    assert (clipped[0.7], clipped[1.0] > 0) == (0, True)


def test_a_teacher_with_the_students_weights_has_nothing_to_teach_at_any_temperature():
    items, model = [], tiny_model()
    for item in rollouts():
        prompt, target = RENDERER.prompt_ids(item.state), RENDERER.target_ids(item.state, item.target)
        logits = model(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
        own, acting = (
            tuple((logits / temperature).log_softmax(-1)[range(len(target)), target].tolist())
            for temperature in (1.0, 0.7)
        )
        items.append(replace(item, weight=1.0, reference_logprobs=own, sampled_logprobs=acting))
    for ratio in (False, True):
        made = Objective(ReverseKlSettings(ratio=ratio), temperature=0.7)
        steps = []
        learner = Learner(tiny_model(), RENDERER, settings(batch_size=99, epochs=1), objective=made)
        report = learner.fit(items, generator=random.Random(0), on_step=steps.append)
        assert report.objective["kl_teacher"] == pytest.approx(0, abs=1e-5)
        assert steps[0].gradient_norm < 1e-4


def test_a_ratio_needs_what_sampled():
    items = [replace(item, sampled_logprobs=None) for item in rollouts()]
    made = Objective(ReverseKlSettings(ratio=True))
    with pytest.raises(ValueError, match="needs sampled_logprobs"):
        Learner(tiny_model(), RENDERER, settings(), objective=made).fit(items, generator=random.Random(0))
