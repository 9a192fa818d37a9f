"""The token tree: its layout on small examples, and its meaning against the slow, obvious trie."""

import doctest
import random

import numpy as np
import pytest

import turnmix.training.tree
from turnmix.training.tree import RenderedTransition, TokenTree, build_tree


def transition(prompt, target, weight=1.0):
    return RenderedTransition(prompt_ids=tuple(prompt), target_ids=tuple(target), weight=weight, group="a")


def random_transitions(generator, count):
    """Few distinct tokens and short lengths, so that forks, prefixes and duplicates all come up."""
    made = []
    for _ in range(count):
        prompt = [generator.randrange(2) for _ in range(generator.randint(1, 6))]
        target = [generator.randrange(3) for _ in range(generator.randint(1, 4))]
        made.append(transition(prompt, target, weight=generator.choice([1.0, -0.5, 2.0])))
    return made


def path_to(tree: TokenTree, row: int) -> tuple[int, ...]:
    """The tokens from the root down to `row`, climbed one parent at a time."""
    tokens = []
    while row >= 0:
        tokens.append(int(tree.token_ids[row]))
        run = next(run for run in tree.runs if run.start <= row < run.stop)
        row = run.parent if row == run.start else row - 1
    return tuple(reversed(tokens))


def obvious_trie(transitions):
    """Nodes as prefixes, and how often each (prefix, next token, weight) is taught."""
    nodes, labels = set(), {}
    for item in transitions:
        tokens = item.prompt_ids + item.target_ids
        nodes.update(tokens[: end + 1] for end in range(len(tokens) - 1))
        for place, token in enumerate(item.target_ids, start=len(item.prompt_ids)):
            taught = (tokens[:place], token, item.weight)
            labels[taught] = labels.get(taught, 0) + 1
    return nodes, labels


def test_the_documented_example_holds():
    assert doctest.testmod(turnmix.training.tree).failed == 0


@pytest.mark.parametrize("seed", range(200))
def test_the_tree_has_the_nodes_depths_and_labels_of_the_obvious_trie(seed):
    generator = random.Random(seed)
    transitions = random_transitions(generator, generator.randint(1, 9))
    tree = build_tree(transitions)
    nodes, labels = obvious_trie(transitions)

    paths = [path_to(tree, row) for row in range(len(tree))]
    assert sorted(paths) == sorted(nodes)  # each node once
    assert tree.position_ids.tolist() == [len(path) - 1 for path in paths]
    for row, path in enumerate(paths):  # a row sees the rows whose paths begin its own
        seen = [k for k in range(row + 1) if row < tree.subtree_ends[k]]
        assert [paths[k] for k in seen] == [path[: end + 1] for end in range(len(path))]
    found = zip(tree.label_rows, tree.label_ids, tree.label_weights, tree.label_shares, strict=True)
    assert {(paths[row], token, weight): share for row, token, weight, share in found} == labels


@pytest.mark.parametrize("seed", range(50))
def test_a_tree_does_not_depend_on_the_order_of_its_transitions(seed):
    generator = random.Random(seed)
    transitions = random_transitions(generator, 6)
    tree = build_tree(transitions)
    again = build_tree(generator.sample(transitions, len(transitions)))
    assert np.array_equal(tree.token_ids, again.token_ids)
    assert tree.runs == again.runs
    assert np.array_equal(tree.label_rows, again.label_rows)


def test_the_longest_path_is_the_trunk_and_what_leaves_it_last_follows_first():
    tree = build_tree(
        [
            transition([1, 2, 3, 4, 5], [6, 7, 8]),  # trunk: rows 0 to 6
            transition([1, 2, 3, 9], [9, 9]),  # leaves after row 2
            transition([1, 0, 0], [0]),  # leaves after row 0
        ]
    )
    assert [(run.start, run.stop, run.parent) for run in tree.runs] == [(0, 7, -1), (7, 9, 2), (9, 11, 0)]
    assert tree.subtree_ends.tolist() == [11, 9, 9, 7, 7, 7, 7, 9, 9, 11, 11]


def test_labels_of_one_weight_become_one_triple_with_their_shares_summed_and_others_do_not():
    tree = build_tree(
        [
            transition([1], [5, 6], weight=0.5),
            transition([1], [5, 7], weight=0.5),
            transition([1], [5], weight=-2.0),
        ]
    )
    labels = zip(tree.label_ids, tree.label_weights, tree.label_shares, strict=True)
    assert sorted(labels) == [(5, -2.0, 1.0), (5, 0.5, 2.0), (6, 0.5, 1.0), (7, 0.5, 1.0)]
    assert tree.num_labels == 5  # counted before merging: 2 + 2 + 1


def test_every_token_may_have_its_own_weight():
    tree = build_tree([transition([1], [5, 6], weight=(0.0, -2.0))])
    assert list(zip(tree.label_ids, tree.label_weights, strict=True)) == [(6, -2.0)]
    assert tree.num_labels == 1


def test_an_empty_prompt_or_target_is_refused():
    with pytest.raises(ValueError, match="must not be empty, got 0 and 1"):
        transition([], [1])


def test_weights_that_do_not_match_the_target_are_refused():
    with pytest.raises(ValueError, match="2 weights for 1 target tokens"):
        transition([1], [1], weight=(1.0, 2.0))
