"""Packed equals separate: a tree's gradient is that of its transitions trained one by one, in float32."""

import random

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnmix.training.attention import additive_mask, batch_trees, tree_attention_in
from turnmix.training.loss import weighted_cross_entropy
from turnmix.training.tree import RenderedTransition, build_tree, split_to_budget

TOLERANCE = 2e-6  # relative L2 of the whole gradient
VOCABULARY = 50


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
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


def gradient(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double()


def separate_loss(model, transitions):
    """What every trainer would compute: each transition alone, through the model's own attention and head."""
    total = torch.zeros(())
    for item in transitions:
        logits = model(input_ids=torch.tensor([item.prompt_ids + item.target_ids])).logits[0]
        log_probabilities = logits[len(item.prompt_ids) - 1 : -1].log_softmax(-1)
        weights = torch.tensor(item.weight).expand(len(item.target_ids))
        total = total - (log_probabilities[range(len(item.target_ids)), item.target_ids] * weights).sum()
    return total


def tree_loss(model, lots):
    batch = batch_trees([build_tree(lot) for lot in lots])
    with tree_attention_in(model):
        hidden = model.model(
            input_ids=batch.token_ids, position_ids=batch.position_ids, use_cache=False, tree_plan=batch.plan
        ).last_hidden_state[0]
    return weighted_cross_entropy(
        hidden, model.lm_head, batch.label_rows, batch.label_ids, batch.label_weights
    )


def dense_loss(model, transitions):
    """The oracle of the oracle: one N×N mask, the model's own SDPA."""
    tree = build_tree(transitions)
    batch = batch_trees([tree])
    hidden = model.model(
        input_ids=batch.token_ids,
        position_ids=batch.position_ids,
        attention_mask=additive_mask(tree.runs, num_prefix=0)[None, None],
        use_cache=False,
    ).last_hidden_state[0]
    return weighted_cross_entropy(
        hidden, model.lm_head, batch.label_rows, batch.label_ids, batch.label_weights
    )


def difference(model, loss, expected):
    wanted = gradient(model, expected)
    return ((gradient(model, loss) - wanted).norm() / wanted.norm()).item()


def tokens(generator, count):
    return tuple(generator.randrange(VOCABULARY) for _ in range(count))


def rollout(generator, num_turns, prompt=9):
    """Transitions as a mixed rollout leaves them: on a student turn the label branches off."""
    history, made = tokens(generator, prompt), []
    for _ in range(num_turns):
        label = tokens(generator, generator.randint(1, 7))
        weight = generator.choice([1.0, -1.0, 0.25, tuple(generator.uniform(-1, 1) for _ in label)])
        made.append(RenderedTransition(prompt_ids=history, target_ids=label, weight=weight, group="a"))
        common = generator.randint(0, len(label))
        executed = label if generator.random() < 0.5 else label[:common] + tokens(generator, 4)
        history = history + executed + tokens(generator, generator.randint(0, 6))
    return made


def transition(prompt, target, weight=1.0):
    return RenderedTransition(prompt_ids=tuple(prompt), target_ids=tuple(target), weight=weight, group="a")


@pytest.mark.parametrize("seed", range(12))
def test_a_mixed_rollout_trains_as_its_transitions_do_alone(model, seed):
    transitions = rollout(random.Random(seed), num_turns=6)
    expected = separate_loss(model, transitions)
    assert difference(model, tree_loss(model, [transitions]), expected) <= TOLERANCE
    expected = separate_loss(model, transitions)
    assert difference(model, dense_loss(model, transitions), expected) <= TOLERANCE


@pytest.mark.parametrize("seed", range(4))
def test_branches_of_branches_are_exact(model, seed):
    """A template that rewrites history forks at every turn: prefixes of one another's branches, at any
    depth."""
    generator = random.Random(seed)
    stems = [tokens(generator, 12)]
    for _ in range(12):
        stem = generator.choice(stems)
        stems.append(stem[: generator.randint(1, len(stem))] + tokens(generator, generator.randint(1, 8)))
    transitions = [transition(stem, tokens(generator, 3), generator.choice([1.0, -2.0])) for stem in stems]
    expected = separate_loss(model, transitions)
    assert difference(model, tree_loss(model, [transitions]), expected) <= TOLERANCE


def test_a_fork_at_the_first_token_is_exact(model):
    transitions = [transition([1, 2, 3, 4], [5, 6]), transition([7, 2, 3], [5, 6]), transition([8], [9])]
    expected = separate_loss(model, transitions)
    assert difference(model, tree_loss(model, [transitions]), expected) <= TOLERANCE


def test_a_fork_at_every_depth_of_the_trunk_is_exact(model):
    trunk = list(range(1, 12))
    transitions = [transition(trunk, [30])]
    transitions += [transition([*trunk[:depth], 40], [41, 42]) for depth in range(11)]
    expected = separate_loss(model, transitions)
    assert difference(model, tree_loss(model, [transitions]), expected) <= TOLERANCE


def test_labels_of_one_token_and_labels_that_are_prefixes_of_each_other_are_exact(model):
    transitions = [
        transition([1, 2], [3]),
        transition([1, 2], [3, 4], -0.5),
        transition([1, 2], [3, 4, 5], 2.0),
    ]
    expected = separate_loss(model, transitions)
    assert difference(model, tree_loss(model, [transitions]), expected) <= TOLERANCE


def test_several_trees_in_one_pass_do_not_see_each_other(model):
    generator = random.Random(5)
    lots = [rollout(generator, num_turns=3) for _ in range(3)]
    expected = separate_loss(model, [item for lot in lots for item in lot])
    assert difference(model, tree_loss(model, lots), expected) <= TOLERANCE


def test_a_tree_split_to_a_budget_is_exact(model):
    transitions = rollout(random.Random(6), num_turns=8)
    lots = split_to_budget(transitions, budget=40)
    assert len(lots) > 1
    expected = separate_loss(model, transitions)
    assert difference(model, tree_loss(model, lots), expected) <= TOLERANCE


def test_branches_in_several_kernel_calls_are_exact(model, monkeypatch):
    monkeypatch.setattr("turnmix.training.attention.BLOCK_OVERHEAD", 0)
    transitions = rollout(random.Random(7), num_turns=24)
    assert len(batch_trees([build_tree(transitions)]).plan) > 3
    expected = separate_loss(model, transitions)
    assert difference(model, tree_loss(model, [transitions]), expected) <= TOLERANCE


def test_logits_in_several_chunks_are_exact(model, monkeypatch):
    monkeypatch.setattr("turnmix.training.loss.MAX_LOGITS", 3 * VOCABULARY)
    transitions = rollout(random.Random(8), num_turns=4)
    expected = separate_loss(model, transitions)
    assert difference(model, tree_loss(model, [transitions]), expected) <= TOLERANCE
