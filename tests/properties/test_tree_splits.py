"""Splits of a tree: all transitions once, few rows repeated, close to what trying all splits finds."""

import random
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from split_rollouts import rollout
from tree_oracle import transitions
from turnmix.training.splitting import MOST_ROWS
from turnmix.training.tree import RenderedTransition, build_tree, split_to_budget, split_trees


def longest(items):
    return max(item.num_rows for item in items)


def budgets(items):
    """Below, at and above the longest path, up to the whole tree."""
    path, whole = longest(items), len(build_tree(items))
    return st.one_of(
        st.sampled_from([1, max(1, path - 1), path, path + 1, max(1, whole - 1), whole]),
        st.integers(1, whole + 1),
    )


@settings(deadline=None, max_examples=300)
@given(items=transitions(max_count=12, max_tokens=30), data=st.data())
def test_no_budget_repeats_more_than_a_quarter_of_the_rows_and_none_loses_a_transition(items, data):
    budget = data.draw(budgets(items))
    whole, trees, lots = build_tree(items), split_trees(items, budget), split_to_budget(items, budget)
    assert sum(map(len, trees)) <= MOST_ROWS * len(whole)
    assert sum(len(tree) - tree.repeated_rows for tree in trees) == len(whole)
    assert {tree.whole_rows for tree in trees} == {len(whole)}
    assert sorted(id(item) for lot in lots for item in lot) == sorted(map(id, items))
    assert [tree.num_labels for tree in trees] == [sum(item.num_labels for item in lot) for lot in lots]
    assert sum(tree.total_share for tree in trees) == pytest.approx(whole.total_share)
    if len(whole) <= budget:
        assert len(trees) == 1


@settings(deadline=None, max_examples=50)
@given(items=transitions(max_count=12, max_tokens=30), data=st.data())
def test_a_split_does_not_depend_on_the_order_of_the_transitions(items, data):
    budget, order = data.draw(budgets(items)), data.draw(st.permutations(items))
    first, second = split_trees(items, budget), split_trees(order, budget)
    assert [tree.token_ids.tolist() for tree in first] == [tree.token_ids.tolist() for tree in second]


@pytest.mark.parametrize("seed", range(20))
def test_a_budget_that_a_quarter_more_rows_can_keep_is_kept(seed):
    items = rollout(random.Random(seed), num_turns=24, label=40, beta=0.2)
    budget = int(0.8 * len(build_tree(items)))
    trees = split_trees(items, budget)
    assert len(trees) > 1
    assert longest(items) < max(map(len, trees)) <= budget


def test_a_long_path_with_short_labels_stays_whole_whatever_the_budget():
    """There is nothing to gain: each part would hold most of the path."""
    items = rollout(random.Random(0), num_turns=100, label=4)
    assert len(build_tree(items)) < 1.15 * longest(items)
    for budget in (1, 8, longest(items) // 2, longest(items)):
        assert len(split_trees(items, budget)) == 1


def test_rollouts_of_one_task_are_split_from_each_other_first():
    """That repeats their prompt alone."""
    prompt = tuple(range(40))
    items = [
        item
        for seed in range(6)
        for item in rollout(random.Random(seed), num_turns=20, label=4, prompt=prompt)
    ]
    trees = split_trees(items, max(len(build_tree(items[first : first + 20])) for first in range(0, 120, 20)))
    assert [tree.repeated_rows for tree in trees] == [0] + [len(prompt)] * 5


def all_splits(members):
    """Every way to put `members` into parts."""
    if not members:
        yield []
        return
    first, *others = members
    for parts in all_splits(others):
        yield [[first], *parts]
        for place, part in enumerate(parts):
            yield [*parts[:place], [first, *part], *parts[place + 1 :]]


def num_rows(paths):
    return len({path[:end] for path in paths for end in range(1, len(path) + 1)})


def least_rows(paths, limit):
    """Of all splits into parts of at most `limit` rows."""
    splits = ([num_rows(part) for part in parts] for parts in all_splits(paths))
    return min(sum(rows) for rows in splits if max(rows) <= limit)


def trunk_with_branches(generator):
    trunk = random_path(generator, 20)
    cuts = [generator.randrange(1, 20) for _ in range(5)]
    return [trunk, *((*trunk[:cut], 9, *random_path(generator, generator.randrange(6))) for cut in cuts)]


def any_paths(generator):
    made = [random_path(generator, generator.randrange(1, 12))]
    for _ in range(5):
        stem = generator.choice(made)[: generator.randrange(15)] if generator.random() < 0.8 else ()
        made.append(stem + random_path(generator, generator.randrange(1, 12)))
    return made


def random_path(generator, size):
    return tuple(generator.randrange(5) for _ in range(size))


@pytest.mark.parametrize("make", [trunk_with_branches, any_paths])
def test_a_split_is_nearly_as_good_as_the_best_of_all(make):
    """Where the price is not too high for it, so that the same limit holds for both."""
    excess = []
    for seed in range(150):
        generator = random.Random(seed)
        paths = sorted(set(make(generator)))
        whole, path = num_rows(paths), max(map(len, paths))
        if whole == path:
            continue
        limit = generator.randrange(path, whole)
        best = least_rows(paths, limit)
        items = [RenderedTransition(prompt_ids=one, target_ids=(1,), group="a") for one in paths]
        trees = split_trees(items, limit)
        if max(map(len, trees)) <= limit:
            excess.append(sum(map(len, trees)) / best - 1)
        else:
            assert best > 1.1 * whole  # the best is dear too
    assert len(excess) > 50
    assert min(excess) >= 0
    assert np.mean(np.array(excess) == 0) > 0.9
    assert statistics.mean(excess) < 0.01
