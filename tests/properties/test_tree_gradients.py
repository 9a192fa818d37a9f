"""Packed equals separate: a tree's gradient is that of its transitions trained one by one, in float32.

Whatever the transitions, and however they are split, grouped into trees and passes, adapted or checkpointed.
"""

import random
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, currently_in_test_context, given, reject, settings
from hypothesis import strategies as st
from transformers import OPTConfig, OPTForCausalLM, Qwen3Config, Qwen3ForCausalLM

import branching
import chat_models
import split_rollouts
from sampled_turns import said, sampled
from tree_oracle import VOCABULARY, dense_mask, separate_losses, transitions
from turnmix.core.message import Message
from turnmix.methods.teaching import teach_labels, teach_sampled
from turnmix.rendering.renderer import Renderer
from turnmix.training.attention import TREE_ATTENTION, batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.forest import grow_forest
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective import Objective
from turnmix.training.objective_settings import ClippedRatioSettings
from turnmix.training.recomputation import enable_recomputation, recomputing
from turnmix.training.tree import RenderedTransition, build_tree, split_trees

TOLERANCE = 2e-6  # relative L2 of the whole gradient
LEAST_SHARE = 0.3
"""Of what the transitions' gradients would have if they were orthogonal. Where weights of both signs leave less,
what is left is rounding, on both sides."""


def make_model(seed=0):
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


MODEL = make_model()


def gradient(model, losses):
    """The summed gradient of `losses`, and the norm it would have if they were orthogonal."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    squared = 0.0
    total = torch.zeros(sum(parameter.numel() for parameter in parameters), dtype=torch.float64)
    for loss in losses:
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        one = torch.cat([part.flatten() for part in found]).double()
        total += one
        squared += float(one.square().sum())
    return total, squared**0.5


def tree_losses(model, passes):
    """The loss of each pass, a list of trees."""
    for trees in passes:
        batch = batch_trees(trees)
        with tree_attention_in(model):
            hidden = tree_hidden_states(model, batch)
            yield Objective().terms(hidden, model.lm_head, batch)[0]


def dense_loss(model, tree):
    """Without any of our attention: one N×N float mask, the model's own SDPA."""
    batch = batch_trees([tree])
    mask = torch.zeros(1, 1, len(tree), len(tree)).masked_fill(~dense_mask([tree]), -torch.inf)
    hidden = model.model(
        input_ids=batch.token_ids, position_ids=batch.position_ids, attention_mask=mask, use_cache=False
    ).last_hidden_state[0]
    return Objective().terms(hidden, model.lm_head, batch)[0]


def check(items, passes, model=MODEL, separate_model=None):
    """`passes`, lists of trees of all `items`, give the gradient of `items` one by one."""
    expected, orthogonal = gradient(separate_model or model, separate_losses(separate_model or model, items))
    is_large_enough = expected.norm() >= LEAST_SHARE * orthogonal > 0
    assert is_large_enough or currently_in_test_context()
    if not is_large_enough:
        reject()
    found, _ = gradient(model, tree_losses(model, passes))
    assert (found - expected).norm() / expected.norm() <= TOLERANCE


exhaustive = settings(deadline=None, max_examples=25)
call_costs = st.sampled_from([0, 64, 4096])


@exhaustive
@given(items=transitions(), call_cost=call_costs)
def test_a_tree_of_any_transitions_trains_as_they_do_alone(items, call_cost):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("turnmix.training.pieces.CALL_COST", call_cost)
        check(items, [[build_tree(items)]])


@exhaustive
@given(items=transitions())
def test_the_dense_mask_trains_as_they_do_alone(items):
    expected, orthogonal = gradient(MODEL, separate_losses(MODEL, items))
    assume(expected.norm() >= LEAST_SHARE * orthogonal > 0)
    found, _ = gradient(MODEL, [dense_loss(MODEL, build_tree(items))])
    assert (found - expected).norm() / expected.norm() <= TOLERANCE


@exhaustive
@given(items=transitions(max_count=10), share=st.sampled_from([0.0, 0.5, 1.0, 1.2, 1.5]))
def test_a_tree_split_to_a_budget_is_exact(items, share):
    """Below, at and above the longest path."""
    budget = max(1, int(share * max(item.num_rows for item in items)))
    check(items, [[tree] for tree in split_trees(items, budget)])


@pytest.mark.parametrize("share", [0.1, 1.0, 1.5])
@pytest.mark.parametrize("seed", range(2))
def test_rollouts_in_several_trees_are_exact(seed, share):
    items = long_labels(random.Random(seed))
    trees = split_trees(items, int(share * max(item.num_rows for item in items)))
    assert len(trees) > 1
    check(items, [[tree] for tree in trees])


@exhaustive
@given(items=transitions(max_count=10), data=st.data())
def test_any_grouping_into_trees_and_passes_is_exact(items, data):
    """A tree need not be a trajectory's: several rollouts of one task share one, or any other set."""
    order = data.draw(st.permutations(items))
    tree_of = [data.draw(st.integers(0, 3)) for _ in order]
    lots = [[item for item, tree in zip(order, tree_of, strict=True) if tree == lot] for lot in range(4)]
    trees = [build_tree(lot) for lot in lots if lot]
    cut = data.draw(st.integers(0, len(trees)))
    check(items, [part for part in (trees[:cut], trees[cut:]) if part])


@exhaustive
@given(items=transitions(), seed=st.integers(0, 3))
def test_adapters_train_exactly(items, seed):
    peft = pytest.importorskip("peft")
    model = make_model(seed)
    adapter = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    peft.inject_adapter_in_model(adapter, model)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:  # begins at 0, which leaves A without a gradient
            torch.nn.init.normal_(parameter, std=0.02)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(".lora_" in name for name in trained)
    check(items, [[build_tree(items)]], model)


@exhaustive
@given(items=transitions())
def test_checkpointed_activations_are_exact(items):
    model = deepcopy(MODEL)
    enable_recomputation(model)
    with recomputing(model, is_enabled=True):
        check(items, [[build_tree(items)]], model, separate_model=MODEL)


def test_checkpointing_computes_each_layer_again():
    """So that the test above is one."""
    model, calls = deepcopy(MODEL), []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    items = rollout(random.Random(0), num_turns=2)
    gradient(model, tree_losses(model, [[build_tree(items)]]))
    assert len(calls) == 1
    enable_recomputation(model)
    with recomputing(model, is_enabled=True):
        gradient(model, tree_losses(model, [[build_tree(items)]]))
    assert len(calls) == 3


def test_checkpointing_brings_no_dropout():
    config = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        ffn_dim=64,
        num_attention_heads=4,
        dropout=0.5,
    )
    torch.manual_seed(0)
    model = OPTForCausalLM(config).eval()
    ids = torch.arange(12)[None]
    expected = model(input_ids=ids).logits
    enable_recomputation(model)
    with recomputing(model, is_enabled=True):
        assert torch.equal(model(input_ids=ids).logits, expected)


def random_tokens(generator, count):
    return tuple(generator.randrange(VOCABULARY) for _ in range(count))


def rollout(generator, num_turns, prompt=()):
    """Transitions as a mixed rollout leaves them: on a student turn the label branches off."""
    history, made = prompt or random_tokens(generator, 9), []
    for _ in range(num_turns):
        label = random_tokens(generator, generator.randint(1, 7))
        weight = generator.choice([1.0, -1.0, 0.25, tuple(generator.uniform(-1, 1) for _ in label)])
        made.append(RenderedTransition(prompt_ids=history, target_ids=label, weight=weight, group="a"))
        common = generator.randint(0, len(label))
        executed = label if generator.random() < 0.5 else label[:common] + random_tokens(generator, 4)
        history = history + executed + random_tokens(generator, generator.randint(1, 6))
    return made


def long_labels(generator):
    """Of one prompt, four rollouts whose labels have many more tokens than the executed path."""
    prompt = random_tokens(generator, 9)
    shape = {"num_turns": 8, "label": 24, "action": 2, "observation": 2, "beta": 0.1}
    return [
        item
        for _ in range(4)
        for item in split_rollouts.rollout(generator, prompt=prompt, vocabulary=VOCABULARY, **shape)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_long_mixed_rollouts_are_exact(seed):
    items = rollout(random.Random(seed), num_turns=24)
    check(items, [[build_tree(items)]])


@pytest.mark.parametrize("seed", range(6))
def test_all_rollouts_of_a_task_in_one_tree_are_exact(seed):
    generator = random.Random(seed)
    prompt = random_tokens(generator, 15)
    items = [item for _ in range(4) for item in rollout(generator, num_turns=6, prompt=prompt)]
    tree = build_tree(items)
    assert len(tree) < sum(len(build_tree(items[first : first + 6])) for first in range(0, 24, 6))
    check(items, [[tree]])


@pytest.mark.parametrize("scaffold", branching.SCAFFOLDS)
def test_trajectories_of_foreign_scaffolds_train_as_their_turns_do_alone(scaffold):
    """Sampled turns with advantages of both signs, and the labels of all states, rendered with the tools of each."""
    tokenizer = chat_models.make_tokenizer(chat_models.CODER_TEMPLATE)
    renderer, plain = Renderer(tokenizer), Renderer(tokenizer)
    trajectory = branching.SCAFFOLDS[scaffold](
        says=lambda text: sampled(renderer, tokenizer, text),
        label=lambda number: said(Message(role="assistant", content=f"label {number % 3}")),
    ).trajectory()
    objective = ClippedRatioSettings()
    taught = [
        *teach_labels([trajectory], objective).transitions,
        *teach_sampled([trajectory], objective).transitions,
    ]
    taught = [replace(each, weight=(1.0, -0.5, 0.25)[number % 3]) for number, each in enumerate(taught)]
    forest = grow_forest(
        taught, renderer, LearnerSettings(), max_context=4096, needs_reference_logprobs=False, average="token"
    )
    items = [
        RenderedTransition(
            prompt_ids=tuple(plain.prompt_ids(each.state)),
            target_ids=tuple(plain.target_ids(each.state, each.target)),
            weight=each.weight,
            group="t1",
        )
        for each in taught
    ]
    (tree,) = forest.trees
    assert len(tree) < sum(item.num_rows for item in items)
    check(items, [[tree]], chat_models.make_model(len(tokenizer)))


def test_logits_in_several_chunks_are_exact(monkeypatch):
    monkeypatch.setattr("turnmix.training.loss.MAX_LOGITS", 3 * VOCABULARY)
    items = rollout(random.Random(8), num_turns=4)
    check(items, [[build_tree(items)]])


def test_a_model_attends_as_before_after_a_tree():
    before = MODEL.config._attn_implementation
    with tree_attention_in(MODEL):
        assert MODEL.config._attn_implementation == TREE_ATTENTION
    assert MODEL.config._attn_implementation == before
