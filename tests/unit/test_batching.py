"""Passes: within budget, of about equal cost, and as many for every rank."""

import random

import pytest
from tiny_student import tiny_model

from turnmix.training.batching import Cost, deal, model_cost
from turnmix.training.pass_counts import PassCounts
from turnmix.training.tree import RenderedTransition, build_tree

ROWS = Cost(per_row=1.0, per_pair=0.0, per_label=0.0)


def tree(size, labels=1):
    return build_tree(
        [RenderedTransition(prompt_ids=(1,) * (size - labels + 1), target_ids=(2,) * labels, group="a")]
    )


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_every_tree_is_counted_once_within_budget_and_all_ranks_make_as_many_passes(num_ranks, seed):
    generator = random.Random(seed)
    trees = [tree(generator.randint(1, 60)) for _ in range(generator.randint(1, 40))]
    dealt = deal(trees, cost=ROWS, budget=50, num_ranks=num_ranks)
    assert len({len(passes) for passes in dealt}) == 1
    counted = [each for passes in dealt for each in passes if each.is_counted]
    assert sorted(id(member) for each in counted for member in each.trees) == sorted(map(id, trees))
    assert all(len(each.trees) == 1 or sum(map(len, each.trees)) <= 50 for each in counted)
    assert sum(not each.is_counted for passes in dealt for each in passes) < num_ranks


def test_ranks_get_equal_shares_of_the_cost():
    trees = [tree(size) for size in random.Random(0).choices(range(10, 100), k=200)]
    shares = [
        sum(ROWS.of(member) for each in passes for member in each.trees)
        for passes in deal(trees, cost=ROWS, budget=1000, num_ranks=4)
    ]
    assert max(shares) / min(shares) < 1.02


def test_one_tree_on_two_ranks_leaves_the_second_a_pass_that_does_not_count():
    first, second = deal([tree(5)], cost=ROWS, budget=50, num_ranks=2)
    assert [each.is_counted for each in (*first, *second)] == [True, False]


def test_small_trees_share_passes_beside_one_that_is_larger_than_the_budget():
    (passes,) = deal([tree(60), *[tree(4) for _ in range(10)]], cost=ROWS, budget=10, num_ranks=1)
    assert sorted(sum(map(len, each.trees)) for each in passes) == [8, 8, 8, 8, 8, 60]


def test_what_keeps_step_with_others_is_counted_apart():
    trees = [tree(30), tree(20)]
    counts = PassCounts(budget_rows=25, ranks=2)
    counts.add(deal(trees, cost=ROWS, budget=25, num_ranks=2))
    assert (counts.rows, counts.idle_rows, counts.repeated_rows) == (50, 0, 0)
    counts.add(deal(trees[:1], cost=ROWS, budget=25, num_ranks=2))
    assert (counts.rows, counts.idle_rows) == (110, 30)
    assert (counts.largest_rows, counts.longest_rows, counts.largest_tree_rows) == (30, 30, 30)


def test_a_cost_is_the_multiply_adds_of_a_forward_pass():
    """Tiny Qwen3, per layer: q 32·32, k and v 32·16 each, o 32·32, MLP 3·32·64, norms 2·32 + 2·8; the last
    norm 32. Attention: 2 layers · 4 heads · 8 · 2 a pair. Head: 64 · 32 a label."""
    cost = model_cost(tiny_model())
    assert cost.per_row == 2 * (1024 + 512 + 512 + 1024 + 6144 + 80) + 32
    assert (cost.per_pair, cost.per_label) == (2 * 4 * 8 * 2, 64 * 32)
    # Three rows see 1 + 2 + 3 = 6 rows, two have a label.
    assert cost.of(tree(3, labels=2)) == 3 * cost.per_row + 6 * cost.per_pair + 2 * cost.per_label
