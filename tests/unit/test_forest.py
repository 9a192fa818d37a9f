"""A forest holds each token of its trajectories about once, and grows the trees of transitions rendered alone."""

import dataclasses
import weakref

import numpy as np
import pytest
from tiny_student import CharacterRenderer, transition

from chat_models import assistant, make_tokenizer
from qwen3_templates import TEMPLATES
from sampled_turns import rollout, said, sampled, student_turn, teacher_turn
from turnmix.core.message import Message
from turnmix.methods.targets import imitate, teacher_label
from turnmix.rendering.renderer import Renderer
from turnmix.training import forest as forest_module
from turnmix.training.forest import grow_forest
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.tree import RenderedTransition, split_trees


class Text(str):
    """One that tells when it goes."""


def trajectory(renderer, tokenizer, name, *, turns=12):
    made = []
    for number in range(turns):
        label = said(assistant(f"I look {number} of {name}.", edit={"path": f"{number}"}))
        answer = Message(role="user", content=f"line {number} " * 4)
        strays = sampled(renderer, tokenizer, f"Hm {number}.")
        made.append(student_turn(strays, answer, label=label) if number % 3 else teacher_turn(label, answer))
    return rollout(*made, name=name)


def taught(renderer, tokenizer, names):
    return imitate([trajectory(renderer, tokenizer, name) for name in names], teacher_label).transitions


def grown(transitions, renderer, settings, average="token"):
    return grow_forest(
        transitions, renderer, settings, max_context=100_000, needs_reference_logprobs=False, average=average
    )


def rendered(renderer, item, *, group, share=1.0):
    return RenderedTransition(
        prompt_ids=tuple(renderer.prompt_ids(item.state)),
        target_ids=tuple(renderer.target_ids(item.state, item.target)),
        group=group,
        share=share,
    )


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for left, right in zip(found, expected, strict=True):
        for field in dataclasses.fields(left):
            np.testing.assert_equal(getattr(left, field.name), getattr(right, field.name), err_msg=field.name)


@pytest.mark.parametrize("average", ["token", "trajectory"])
@pytest.mark.parametrize("tree", ["trajectory", "task"])
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("is_mixed", [False, True])
def test_its_trees_are_those_of_transitions_rendered_alone(template, tree, average, is_mixed):
    tokenizer = make_tokenizer(TEMPLATES[template])
    renderer, plain = Renderer(tokenizer), Renderer(tokenizer)
    plain._template._memory = None
    transitions = taught(renderer, tokenizer, "ab")
    half = len(transitions) // 2
    if is_mixed:
        transitions = [each for pair in zip(transitions[:half], transitions[half:]) for each in pair]
    settings = LearnerSettings(tree=tree, tokens_per_pass=900)
    forest = grown(transitions, renderer, settings, average)
    separate = {name: [each for each in transitions if each.trajectory_id == name] for name in "ab"}
    counts = {
        name: sum(len(plain.target_ids(each.state, each.target)) for each in items)
        for name, items in separate.items()
    }
    groups = {}
    for name, items in separate.items():
        for each in items:
            group = each.trajectory_id if tree == "trajectory" else each.task_id
            share = 1.0 if average == "token" else 1 / counts[name]
            groups.setdefault(group, []).append(rendered(plain, each, group=group, share=share))
    expected = [each for items in groups.values() for each in split_trees(items, 900)]
    assert_equal(forest.trees, expected)
    assert_equal(forest.trees, expected)
    assert forest.num_labels == sum(counts.values())
    assert forest.separate_tokens == sum(item.num_rows for items in groups.values() for item in items)


def test_a_tree_is_the_same_whether_it_was_kept_or_is_built_again(monkeypatch):
    tokenizer = make_tokenizer()
    renderer = Renderer(tokenizer)
    transitions = taught(renderer, tokenizer, "ab")
    kept = grown(transitions, renderer, LearnerSettings())
    assert kept.trees[0] is kept.trees[0]
    monkeypatch.setattr(forest_module, "MOST_ROWS_KEPT", 0)
    rebuilt = grown(transitions, renderer, LearnerSettings())
    second, _, again = (rebuilt.trees_of([place])[0] for place in (1, 0, 1))
    assert again is not second
    assert_equal(rebuilt.trees, kept.trees)


def test_a_trajectory_takes_about_the_room_of_its_tree():
    tokenizer = make_tokenizer(TEMPLATES["instruct"])
    renderer = Renderer(tokenizer)
    forest = grown(taught(renderer, tokenizer, "a"), renderer, LearnerSettings())
    (tree,) = forest.trees
    assert forest.num_tokens < 1.2 * len(tree)
    assert forest.separate_tokens > 4 * forest.num_tokens


def test_transitions_may_come_one_by_one():
    tokenizer = make_tokenizer()
    renderer = Renderer(tokenizer)
    transitions = taught(renderer, tokenizer, "ab")
    alone = grown(transitions, renderer, LearnerSettings())
    assert_equal(grown(iter(transitions), renderer, LearnerSettings()).trees, alone.trees)


def test_a_conversation_that_grows_too_long_for_its_template_is_taught_up_to_there():
    refuses = "{% if messages | length > 9 %}{{ raise_exception('too many') }}{% endif %}"
    tokenizer = make_tokenizer(TEMPLATES["instruct"] + refuses)
    renderer = Renderer(tokenizer)
    transitions = taught(renderer, tokenizer, "a")
    forest = grown(transitions, renderer, LearnerSettings())
    written = [item for item in transitions if len(item.state.messages) < 9]
    assert_equal(forest.trees, grown(written, renderer, LearnerSettings()).trees)
    assert {each.objection.reason for each in forest.untaught} == {"template_refuses"}
    assert len(forest.untaught) == len(transitions) - len(written)


def test_of_texts_that_were_rendered_none_is_held(monkeypatch):
    monkeypatch.setattr(forest_module, "TRAJECTORIES_AT_ONCE", 1)
    texts, held = [], []

    def told():
        for name in "abcdefgh":
            text = Text(f"What {name} says.")
            texts.append(weakref.ref(text))
            held.append(sum(each() is not None for each in texts))
            yield from (transition(["x"] * turn + [text], "y", trajectory=name) for turn in range(3))

    forest = grown(told(), CharacterRenderer(), LearnerSettings())
    assert (len(forest), forest.num_transitions) == (8, 24)
    assert max(held) <= 4
    assert [each() for each in texts] == [None] * 8
