"""The objective: each method's loss by its arithmetic, its gradient, and what it reports."""

import doctest
import math
import random
from dataclasses import replace

import pytest
import torch
from tiny_student import SIZES, CharacterRenderer, batch, settings, tiny_model, transition
from transformers import Qwen3Config, Qwen3ForCausalLM

import turnmix.training.token_loss
from limited_memory import memory_for
from turnmix.core.errors import UserError
from turnmix.policies.scoring import ScoreRequest, TokenPath
from turnmix.training.attention import batch_trees
from turnmix.training.learner import Learner
from turnmix.training.loss import sum_over_labels
from turnmix.training.objective import Objective
from turnmix.training.objective_settings import (
    OBJECTIVES,
    ClippedRatioSettings,
    CrossEntropySettings,
    ReverseKlSettings,
)
from turnmix.training.token_loss import reverse_kl
from turnmix.training.tree import RenderedTransition, build_tree
from turnmix.training.tree_scorer import TreeDivergence, TreeScorer

LOG2 = math.log(2)
HALVES = (0.5, 0.25, 0.25)
"""π over three tokens, in every state."""


def said(*targets, weight=1.0, references=None):
    return RenderedTransition(
        prompt_ids=(0,), target_ids=targets, weight=weight, reference_logprobs=references, group="a"
    )


def evaluated(objective, *transitions, logits=None):
    """The terms, and the gradient of the loss by the logits of each row: hidden states are the logits."""
    labels = batch_trees([build_tree(transitions)])
    hidden = torch.tensor([HALVES if logits is None else logits]).log().repeat(labels.token_ids.numel(), 1)
    head = torch.nn.Linear(3, 3, bias=False)
    head.weight.data = torch.eye(3)
    hidden.requires_grad_()
    terms = objective.terms(hidden, head, labels)
    terms[0].backward()
    return terms.tolist(), hidden.grad


def objective(kind, **options):
    return Objective(OBJECTIVES[kind](**options), vocabulary=3)


def test_the_documented_examples_hold():
    assert doctest.testmod(turnmix.training.token_loss).failed == 0


@pytest.mark.parametrize(
    ("weight", "loss"),
    [(1.0, 2 * LOG2), (-0.5, -LOG2)],  # −w · log 1/4
)
def test_cross_entropy_weighs_the_labels_surprise(weight, loss):
    terms, _ = evaluated(objective("cross_entropy"), said(1, weight=weight))
    assert terms == pytest.approx([loss, weight])


@pytest.mark.parametrize(
    ("sampled_with", "advantage", "loss", "num_clipped"),
    [
        (1 / 4, 1.0, -1.0, 0),  # ratio (1/4) / (1/4) = 1
        (1 / 8, 1.0, -1.28, 1),  # ratio 2, cut at 1 + 0.28
        (1 / 8, -1.0, 2.0, 0),  # min(2 · −1, 1.28 · −1) = −2: a mistake made likelier is not cut
        (1 / 2, 1.0, -0.5, 0),  # ratio 1/2: min(0.5, 0.8)
        (1 / 2, -2.0, 1.6, 1),  # min(0.5 · −2, 0.8 · −2) = −1.6: cut at 1 − 0.2
    ],
)
def test_a_ratio_is_clipped_on_the_side_on_which_it_would_run_away(
    sampled_with, advantage, loss, num_clipped
):
    one = said(1, weight=advantage, references=(math.log(sampled_with),))
    terms, gradient = evaluated(objective("clipped_ratio", clip_low=0.2, clip_high=0.28), one)
    assert terms == pytest.approx([loss, advantage, num_clipped])
    assert (gradient.abs().sum().item() == 0) == bool(num_clipped)


def test_advantage_1_at_ratio_1_has_the_gradient_of_cross_entropy():
    _, clipped = evaluated(objective("clipped_ratio"), said(1, 2, references=(math.log(0.25),) * 2))
    _, plain = evaluated(objective("cross_entropy"), said(1, 2))
    assert torch.allclose(clipped, plain, atol=1e-7)
    assert plain.abs().sum() > 1


def test_a_sampled_token_is_taught_as_far_as_the_teacher_likes_it_better():
    """π = 1/4 and π_teacher = 1/2: w = log 1/2 − log 1/4 = log 2, the loss −w · log 1/4 = 2 (log 2)²."""
    terms, gradient = evaluated(objective("reverse_kl"), said(1, references=(math.log(0.5),)))
    assert terms == pytest.approx([2 * LOG2**2, -LOG2])
    _, plain = evaluated(objective("cross_entropy"), said(1))
    assert torch.allclose(gradient, LOG2 * plain)


def test_tokens_that_only_one_vocabulary_has_count_neither_for_teacher_nor_for_student():
    """π = (1/4, 1/4, 1/2), of which the teacher knows the first two: there π = 1/2, and the teacher's is 1/2."""
    narrow = Objective(ReverseKlSettings(), vocabulary=2)
    terms, gradient = evaluated(narrow, said(1, references=(math.log(0.5),)), logits=(0.25, 0.25, 0.5))
    assert terms == pytest.approx([0.0, 0.0], abs=1e-6)
    assert gradient.abs().max() < 1e-6


def test_top_k_that_holds_the_whole_vocabulary_is_the_whole_divergence_and_less_is_never_more():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(2, 5, 9, generator=generator)
    whole = reverse_kl(ours, theirs)
    direct = (ours.softmax(-1) * (ours.log_softmax(-1) - theirs.log_softmax(-1))).sum(-1)
    assert torch.allclose(whole, direct)
    assert torch.allclose(reverse_kl(ours, theirs, top_k=9), whole)
    assert torch.allclose(reverse_kl(ours, theirs, top_k=8), whole, atol=1e-5)
    for top_k in range(1, 8):
        assert (reverse_kl(ours, theirs, top_k=top_k) <= whole + 1e-6).all()


def paths(transitions):
    renderer = CharacterRenderer()
    return [
        TokenPath(
            prompt_ids=tuple(renderer.prompt_ids(item.state)),
            target_ids=tuple(renderer.target_ids(item.state, item.target)),
        )
        for item in transitions
    ]


def scored(model, transitions, tokens_per_pass=10_000):
    found = {}
    scorer = TreeScorer(model, vocabulary=64, tokens_per_pass=tokens_per_pass)
    scorer.score([ScoreRequest(trajectory_id="a", paths=paths(transitions))], found.__setitem__)
    return found["a"]


def test_a_teacher_without_memory_for_a_pass_is_told_in_one_line_with_what_helps():
    model = Qwen3ForCausalLM(Qwen3Config(**{**SIZES, "max_position_embeddings": 65_536}, head_dim=8))
    with (
        memory_for(4 << 20),
        pytest.raises(UserError, match="the teacher's pass of 24,006 rows; set "),
    ):
        scored(model, [transition(["x" * 24_000], "open")])


@pytest.mark.parametrize("tokens_per_pass", [30, 10_000])
def test_a_local_teacher_scores_each_token_as_it_would_alone(tokens_per_pass):
    model, transitions = tiny_model(seed=1), batch(1)
    for path, scores in zip(paths(transitions), scored(model, transitions, tokens_per_pass), strict=True):
        ids = torch.tensor([path.prompt_ids + path.target_ids])
        logprobs = model(input_ids=ids).logits[0, len(path.prompt_ids) - 1 : -1].log_softmax(-1)
        assert scores == pytest.approx(logprobs[range(len(scores)), path.target_ids].tolist(), abs=1e-5)


@pytest.mark.parametrize("tokens_per_pass", [30, 10_000])
def test_two_models_are_as_far_apart_on_a_tree_as_in_plain_forward_passes(tokens_per_pass):
    model, other, transitions = tiny_model(seed=1), tiny_model(seed=2), batch(1)
    exact = TreeDivergence(model, other, vocabulary=60, tokens_per_pass=tokens_per_pass)
    ((_, found),) = exact.divergences([ScoreRequest(trajectory_id="a", paths=paths(transitions))])
    for path, divergences in zip(paths(transitions), found, strict=True):
        ids = torch.tensor([path.prompt_ids + path.target_ids])
        places = slice(len(path.prompt_ids) - 1, -1)
        ours, theirs = (each(input_ids=ids).logits[0, places, :60].log_softmax(-1) for each in (model, other))
        assert divergences == pytest.approx((ours.exp() * (ours - theirs)).sum(-1).tolist(), abs=1e-5)
        assert min(divergences) > 0


def first_gradient(transitions, made, **changes):
    """The gradient norm and the loss of one step that takes all of `transitions`."""
    steps = []
    learner = Learner(
        tiny_model(), CharacterRenderer(), settings(batch_size=99, epochs=1, **changes), objective=made
    )
    report = learner.fit(transitions, generator=random.Random(0), on_step=steps.append)
    return steps[0].gradient_norm, report


@pytest.mark.parametrize("estimate", ["sampled", "top_k", "full"])
def test_a_teacher_that_is_the_student_has_nothing_to_teach(estimate):
    transitions = batch(3)
    scores = scored(tiny_model(), transitions)
    transitions = [
        replace(item, reference_logprobs=tuple(logprobs))
        for item, logprobs in zip(transitions, scores, strict=True)
    ]
    options = ReverseKlSettings(estimate=estimate)
    norm, report = first_gradient(transitions, Objective(options, teacher=tiny_model(), vocabulary=64))
    another, _ = first_gradient(transitions, Objective(options, teacher=tiny_model(1), vocabulary=64))
    plain, _ = first_gradient(transitions, Objective())
    assert norm < 1e-5 * plain
    assert report.objective["kl_teacher"] == pytest.approx(0, abs=1e-6)
    if estimate != "sampled":  # which compares with the scores, not with the model
        assert another > 0.1 * norm + 1e-3


def test_the_whole_divergence_is_the_mean_over_label_tokens_of_separate_passes():
    transitions, teacher = batch(2), tiny_model(seed=1)
    made = Objective(ReverseKlSettings(estimate="full"), teacher=teacher, vocabulary=64)
    norm, report = first_gradient(transitions, made)
    student, total, count = tiny_model(), torch.zeros(()), 0
    for path in paths(transitions):
        ids = torch.tensor([path.prompt_ids + path.target_ids])
        places = slice(len(path.prompt_ids) - 1, -1)
        total = (
            total + reverse_kl(student(ids).logits[0, places], teacher(ids).logits[0, places].detach()).sum()
        )
        count += len(path.target_ids)
    (total / count).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in student.parameters()]).norm().item()
    assert (report.first_epoch_loss, norm) == pytest.approx((total.item() / count, expected), rel=1e-4)
    assert report.objective == {"kl_teacher": pytest.approx(total.item() / count, rel=1e-4)}


def test_the_regulariser_adds_its_share_of_the_drift_from_the_base_student():
    transitions, base = batch(2), tiny_model(seed=1)
    _, plain = first_gradient(transitions, Objective())
    _, held = first_gradient(transitions, Objective(CrossEntropySettings(kl_weight=0.5), base=base))
    drift = held.objective["kl_base"]
    assert drift > 0.01
    assert held.first_epoch_loss == pytest.approx(plain.first_epoch_loss + 0.5 * drift, rel=1e-5)
    norm, undrifted = first_gradient(
        transitions, Objective(CrossEntropySettings(kl_weight=0.5), base=tiny_model())
    )
    assert undrifted.objective["kl_base"] == pytest.approx(0, abs=1e-6)
    assert norm == pytest.approx(first_gradient(transitions, Objective())[0], rel=1e-5)


def grouped_rollouts():
    """Three rollouts of one task: the same tokens with advantages of either sign and other references."""
    generator = random.Random(0)
    made = []
    for index in range(3):
        for text in ("open a", "open b", "done"):
            item = transition(["issue", "seen"], text, trajectory=str(index))
            size = len(text) + 1
            made.append(
                replace(
                    item,
                    weight=generator.choice([1.5, -0.5, -1.0, 2.0]),
                    reference_logprobs=tuple(-4 - generator.choice([0.0, 0.3, -0.3]) for _ in range(size)),
                )
            )
    return made


@pytest.mark.parametrize("tokens_per_pass", [12, 10_000])
def test_labels_that_differ_in_what_a_clipped_ratio_sees_are_never_merged(tokens_per_pass):
    """One tree for the task, one tree a trajectory, or the tree split: the same gradient."""
    made = Objective(ClippedRatioSettings(kl_weight=0.1), base=tiny_model(1))
    apart, by_itself = first_gradient(grouped_rollouts(), made, tree="trajectory", tokens_per_pass=10_000)
    together, shared = first_gradient(grouped_rollouts(), made, tree="task", tokens_per_pass=tokens_per_pass)
    assert together == pytest.approx(apart, rel=1e-5)
    assert shared.first_epoch_loss == pytest.approx(by_itself.first_epoch_loss, rel=1e-5)
    assert shared.objective == pytest.approx(by_itself.objective, rel=1e-4)
    assert 0 < shared.objective["clip_share"] < 1
    if tokens_per_pass > 100:
        assert shared.tree_tokens < by_itself.tree_tokens


def test_an_objective_that_compares_refuses_transitions_without_references():
    with pytest.raises(ValueError, match="needs reference_logprobs"):
        first_gradient(batch(1), objective("clipped_ratio"))


def test_a_head_that_is_more_than_a_matrix_is_called_and_gives_the_same_gradient(monkeypatch):
    class Called(torch.nn.Linear):
        pass

    monkeypatch.setattr("turnmix.training.loss.MAX_LOGITS", 3 * 64)
    found = []
    for kind in (torch.nn.Linear, Called):
        torch.manual_seed(0)
        head, hidden = kind(8, 64), torch.randn(10, 8, requires_grad=True)

        def terms(logits, place):
            return torch.stack(
                [(logits.log_softmax(-1)[:, 3] * torch.arange(10)[place]).sum(), logits.detach().sum()]
            )

        summed = sum_over_labels(hidden, head, terms)
        (2 * summed[0]).backward()
        found.append((summed.detach(), hidden.grad, head.weight.grad, head.bias.grad))
    for matrix, called in zip(*found, strict=True):
        assert torch.allclose(matrix, called, atol=1e-4)


def test_the_gradient_of_a_bfloat16_head_loses_nothing_to_the_number_of_chunks(monkeypatch):
    monkeypatch.setattr("turnmix.training.loss.MIN_LOGITS", 1)
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 64, bias=False).bfloat16()
    values, ids = torch.randn(2048, 16).bfloat16(), torch.randint(64, (2048,))

    def gradient(num_chunks):
        monkeypatch.setattr("turnmix.training.loss.CHUNKS", num_chunks)
        head.weight.grad, hidden = None, values.clone().requires_grad_()

        def terms(logits, place):
            return torch.nn.functional.cross_entropy(logits, ids[place], reduction="sum")[None]

        sum_over_labels(hidden, head, terms)[0].backward()
        assert head.weight.grad.dtype == hidden.grad.dtype == torch.bfloat16
        return head.weight.grad.float()

    whole, chunked = gradient(1), gradient(64)
    assert (chunked - whole).norm() / whole.norm() < 3e-3  # bfloat16 itself rounds by up to 4e-3


def test_frozen_models_attend_as_before_and_get_no_gradient():
    base = tiny_model(1)
    before = base.config._attn_implementation
    first_gradient(batch(1), Objective(CrossEntropySettings(kl_weight=1.0), base=base))
    assert base.config._attn_implementation == before
    assert all(parameter.grad is None for parameter in base.parameters())
