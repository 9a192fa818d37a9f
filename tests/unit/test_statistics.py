"""Differences of two arms: false alarms and coverage as promised, each figure as an obvious slow version gives it."""

import itertools
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from simulated_comparisons import World, judge_many, label_nll, resolved

from turnmix.analysis.statistics.comparison import compare
from turnmix.analysis.statistics.difference import judge_difference
from turnmix.analysis.statistics.holm import holm
from turnmix.analysis.statistics.mcnemar import mcnemar, tango
from turnmix.analysis.statistics.measured import Measured
from turnmix.analysis.statistics.power import power, smallest_effect
from turnmix.analysis.statistics.spread import contributions, crossed_spread
from turnmix.core.errors import UserError

LONG = pytest.mark.skipif(not os.environ.get("TURNMIX_LONG_TESTS"), reason="TURNMIX_LONG_TESTS is not set")


def measured(numerators, denominators=None, *, name="a", seeds=None, tasks=None, unit="share"):
    numerators = np.asarray(numerators, dtype=float)
    return Measured(
        name=name,
        seeds=seeds or list(range(numerators.shape[0])),
        tasks=tasks or [f"t{number}" for number in range(numerators.shape[1])],
        numerators=numerators,
        denominators=np.ones_like(numerators) if denominators is None else denominators,
        unit=unit,
    )


# 10,000 comparisons of equal arms; the standard error of a share of .05 is .002.


@pytest.mark.parametrize(
    ("make", "world", "value"),
    [
        pytest.param(resolved, World(5, 200, seed=0.1), 0.77, id="5 seeds, small luck"),
        pytest.param(resolved, World(3, 100, seed=0.5), 0.3, id="3 seeds, large luck"),
        pytest.param(resolved, World(3, 100, task=0, interaction=0), 0.3, id="3 seeds, no luck, tasks alike"),
        pytest.param(resolved, World(1, 200), 0.77, id="1 seed"),
        pytest.param(label_nll, World(5, 100, seed=0.3), 1.0, id="5 seeds, NLL"),
        pytest.param(label_nll, World(1, 200), 1.0, id="1 seed, NLL"),
    ],
)
def test_equal_arms_differ_in_5_of_100_comparisons_and_the_interval_holds_in_95(make, world, value):
    found = judge_many(make, world, (value, value))
    assert found.alarms == pytest.approx(0.05, abs=0.01)
    assert found.coverage == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("make", "world", "values"),
    [
        pytest.param(resolved, World(5, 100, seed=0.1), (0.3, 0.05), id="30 against 5 %"),
        pytest.param(label_nll, World(5, 100, seed=0.3), (1.0, 0.5), id="NLL, half"),
    ],
)
def test_the_interval_holds_a_real_difference_in_95_of_100_comparisons(make, world, values):
    assert judge_many(make, world, values).coverage == pytest.approx(0.95, abs=0.01)


def test_missing_entries_change_neither():
    found = judge_many(resolved, World(3, 100, seed=0.1), (0.3, 0.3), missing=0.1, comparisons=4000)
    assert found.alarms == pytest.approx(0.05, abs=0.013)
    assert found.coverage == pytest.approx(0.95, abs=0.013)


def test_where_nearly_all_is_resolved_false_alarms_are_fewer_not_more():
    # 98 % of 100 tasks: two failures a seed, and often not one pair differs.
    assert judge_many(resolved, World(5, 100, seed=0.1), (0.98, 0.98), comparisons=4000).alarms < 0.06
    assert judge_many(resolved, World(1, 100), (0.98, 0.98)).alarms < 0.06


def test_two_seeds_raise_at_most_the_false_alarms_that_their_note_tells_of():
    assert "2 to 7 find a difference" in compare(measured(np.eye(2, 40)), measured(np.ones((2, 40)))).notes[0]
    for luck in (0.0, 0.5):
        alarms = judge_many(resolved, World(2, 200, seed=luck), (0.3, 0.3), comparisons=4000).alarms
        assert 0.015 < alarms < 0.075


@LONG
@pytest.mark.parametrize("num_seeds", [1, 3, 5])
@pytest.mark.parametrize("num_tasks", [100, 200])
def test_false_alarms_and_coverage_over_many_worlds(num_seeds, num_tasks):
    wrong = []
    for luck, (task, interaction) in itertools.product(
        (0.0,) if num_seeds == 1 else (0.0, 0.1, 0.5), ((0, 0), (1.5, 0.7))
    ):
        world = World(num_seeds, num_tasks, seed=luck, task=task, interaction=interaction)
        for make, value in ((resolved, 0.05), (resolved, 0.3), (resolved, 0.77), (label_nll, 1.0)):
            found = judge_many(make, world, (value, value), comparisons=5000)
            # The standard error is .003. Where 5 % are resolved, fewer alarms are no fault.
            fewest = 0.0 if value == 0.05 else 0.03
            if not (fewest < found.alarms < 0.065 and found.coverage > 0.935):
                wrong.append((world, make.__name__, value, found))
    assert wrong == []


def slow_spread(differences):
    """The mean squares of a two-way analysis of variance, by loops; in: [seeds][tasks], nothing missing."""
    num_seeds, num_tasks = len(differences), len(differences[0])
    mean = sum(map(sum, differences)) / (num_seeds * num_tasks)
    of_seed = [sum(row) / num_tasks for row in differences]
    of_task = [sum(row[task] for row in differences) / num_seeds for task in range(num_tasks)]
    seeds = num_tasks * sum((value - mean) ** 2 for value in of_seed) / (num_seeds - 1)
    tasks = num_seeds * sum((value - mean) ** 2 for value in of_task) / (num_tasks - 1)
    rest = sum(
        (differences[seed][task] - of_seed[seed] - of_task[task] + mean) ** 2
        for seed in range(num_seeds)
        for task in range(num_tasks)
    ) / ((num_seeds - 1) * (num_tasks - 1))
    return (seeds + max(tasks - rest, 0)) / (num_seeds * num_tasks)


@given(
    st.lists(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=4, max_size=4), min_size=2, max_size=5)
)
def test_the_variance_is_that_of_a_two_way_analysis(differences):
    array = np.asarray(differences)
    found = crossed_spread(array - array.mean(), np.ones(array.shape, dtype=bool))
    assert float(found.variance) == pytest.approx(slow_spread(differences), abs=1e-12)


def test_what_seeds_and_tasks_leave_is_that_of_least_squares_where_entries_are_missing():
    generator = np.random.default_rng(1)
    differences = generator.standard_normal((4, 12)) + 3 * generator.standard_normal(12)
    is_there = generator.random((4, 12)) > 0.2
    seed, task = np.nonzero(is_there)
    design = np.concatenate([np.eye(4)[seed], np.eye(12)[task]], axis=1)
    present = differences[is_there]
    left = present - design @ np.linalg.lstsq(design, present, rcond=None)[0]
    rest = (left**2).sum() / (len(present) - 4 - 12 + 1) / len(present)
    parts = np.where(is_there, differences - present.mean(), 0)
    by_seed = (parts.sum(axis=1) ** 2).sum() * 4 / 3 / len(present) ** 2
    by_task = (parts.sum(axis=0) ** 2).sum() * 12 / 11 / len(present) ** 2
    assert by_task > rest
    found = float(crossed_spread(parts, is_there).variance)
    assert found == pytest.approx(by_seed + by_task - rest, rel=1e-6)


def test_what_an_entry_adds_to_a_ratio_is_its_slope():
    generator = np.random.default_rng(2)
    nats, tokens = generator.random((2, 3, 5)) + 0.1
    step = 1e-6
    for seed, task in itertools.product(range(3), range(5)):
        weights = np.ones((3, 5))
        weights[seed, task] += step
        slope = ((weights * nats).sum() / (weights * tokens).sum() - nats.sum() / tokens.sum()) / step
        assert contributions(nats, tokens)[seed, task] / 15 == pytest.approx(slope, rel=1e-4)


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemars_p_values_are_sums_of_binomials(only_a, only_b):
    total, smaller = only_a + only_b, min(only_a, only_b)
    below = sum(math.comb(total, k) for k in range(smaller)) / 2**total
    at = math.comb(total, smaller) / 2**total
    assert mcnemar(only_a, only_b).exact == pytest.approx(min(1, 2 * (below + at)))
    assert mcnemar(only_a, only_b).mid_p == pytest.approx(min(1, 2 * below + at))


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(1, 9, 50), (0, 4, 30), (12, 5, 40), (7, 7, 100)])
def test_tangos_ends_are_where_the_score_is_the_normal_quantile(only_a, only_b, n):
    def score(difference):
        def unlikely(share_b):
            shares = (share_b + difference, share_b, 1 - 2 * share_b - difference)
            return -sum(
                count * math.log(max(share, 1e-300))
                for count, share in zip((only_a, only_b, n - only_a - only_b), shares)
            )

        bounds = (max(0.0, -difference), (1 - difference) / 2)
        share_b = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return (only_a - only_b - n * difference) / math.sqrt(n * (2 * share_b + difference - difference**2))

    low, high = tango(only_a, only_b, n)
    assert score(float(low)) == pytest.approx(1.959964, abs=1e-3)
    assert score(float(high)) == pytest.approx(-1.959964, abs=1e-3)


def test_tangos_interval_stays_within_its_range_and_mirrors():
    for only_a, only_b in itertools.product(range(11), range(11)):
        if only_a + only_b <= 10:
            low, high = tango(only_a, only_b, 10)
            assert -1 <= low <= (only_a - only_b) / 10 <= high <= 1
            assert tango(only_b, only_a, 10) == (pytest.approx(-high), pytest.approx(-low))


@pytest.mark.parametrize(("effect", "degrees"), [(0.0, 9), (0.5, 9), (0.9, 4), (1.2, 9)])
def test_the_power_is_the_share_of_t_tests_that_find_the_effect(effect, degrees):
    # A t-test of degrees + 1 values of variance 1, 40,000 times: the standard error is below .0025.
    n = degrees + 1
    values = np.random.default_rng(3).normal(effect, 1, (40_000, n))
    ones = np.ones((40_000, 1, n))
    found = judge_difference(values[:, None, :], ones, 0 * ones, ones).p_value < 0.05
    assert found.mean() == pytest.approx(power(effect, 1 / math.sqrt(n), degrees), abs=0.01)


@pytest.mark.parametrize("degrees", [1, 1.4, 4, 37.2, 199, 10_000])
def test_the_smallest_effect_is_found_with_a_power_of_8_in_10(degrees):
    assert power(smallest_effect(0.03, degrees), 0.03, degrees) == pytest.approx(0.8)


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_rejects_what_the_step_down_rule_rejects(p_values):
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[index] * (len(p_values) - step) >= level:
                break
            rejected.add(index)
        assert {index for index, p in enumerate(adjusted) if p < level} == rejected


def test_a_comparison_says_how_it_was_judged():
    generator = np.random.default_rng(4)
    a, b = (generator.random((3, 30)) < share for share in (0.6, 0.4))
    tokens = generator.integers(100, 300, (3, 30))
    both = [compare(measured(a[:seeds]), measured(b[:seeds])) for seeds in (1, 3)]
    nll = [
        compare(
            measured(a[:seeds] * tokens[:seeds], tokens[:seeds], unit="nats per token"),
            measured(b[:seeds] * tokens[:seeds], tokens[:seeds], unit="nats per token"),
        )
        for seeds in (1, 3)
    ]
    assert both[0].method == "pairs by task: mid-p McNemar test, Tango's interval"
    assert nll[0].method == "pairs by task: t-test with 29 degrees of freedom"
    for crossed in (both[1], nll[1]):
        assert crossed.method.startswith(
            "pairs by task and seed, both crossed random effects: t-test with Satterthw"
        )
        assert crossed.notes == ()
    assert "One seed" in both[0].notes[0]
    assert [found.effect for found in both] == [0.05, 0.05]
    assert nll[1].effect == pytest.approx(0.1 * nll[1].value_b)
    assert all(0.05 < found.power < 1 and found.smallest_effect > found.effect for found in (*both, nll[1]))


def test_swapped_arms_give_the_mirrored_comparison():
    generator = np.random.default_rng(5)
    a, b = (measured(generator.random((3, 20)) < share) for share in (0.6, 0.4))
    one, other = compare(a, b), compare(b, a)
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
    assert one.p_value == pytest.approx(other.p_value)


def test_tasks_are_paired_by_name_and_seeds_by_number():
    generator = np.random.default_rng(6)
    a, b = (generator.random((3, 20)) for _ in range(2))
    shuffled = measured(
        b[::-1, ::-1], seeds=[2, 1, 0], tasks=[f"t{number}" for number in reversed(range(20))]
    )
    assert compare(measured(a), shuffled) == compare(measured(a), measured(b))


def test_a_value_that_one_arm_lacks_is_left_out_of_both_and_told():
    generator = np.random.default_rng(7)
    a, b = (generator.random((3, 20)) for _ in range(2))
    a[1, 4] = np.nan
    found = compare(measured(a), measured(b, name="b"))
    b[1, 4] = 99.0
    assert compare(measured(a), measured(b, name="b")) == found
    assert found.num_pairs == 59
    assert found.notes == ("1 of 60 pairs of seed and task, missing in a or b, are left out.",)


def test_seeds_with_tasks_of_their_own_are_the_units():
    # Differences of the seeds: 1/2, 0, 1/4; their variance 1/16, the standard error √(1/16/3) = .1443.
    a = np.full((3, 12), np.nan)
    for seed, row in enumerate(([1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0])):
        a[seed, 4 * seed : 4 * seed + 4] = row
    found = compare(measured(a), measured(a * 0))
    assert found.method == "pairs by seed, each with tasks of its own: t-test with 2 degrees of freedom"
    assert (found.high - found.low) / 2 == pytest.approx(4.3026527 * 0.1443376)


def test_two_runs_of_different_seeds_are_paired_by_task():
    found = compare(measured([[1, 0, 1]], seeds=[0]), measured([[0, 0, 1]], seeds=[1], name="b"))
    assert (found.num_seeds, found.num_tasks) == (1, 3)
    assert found.notes[0] == "These are paired in this order: seed 0 of a, seed 1 of b."


def test_a_seed_too_many_is_left_out_and_told():
    found = compare(measured(np.eye(3, 9)), measured(np.zeros((2, 9)), seeds=[0, 2], name="b"))
    assert found.num_seeds == 2
    assert "Left out for want of a pair: seed 1 of a." in found.notes


def test_arms_that_never_differ_have_an_interval_all_the_same():
    ones = np.ones((3, 50))
    found = compare(measured(ones), measured(ones))
    # n = 50 and no pair apart: z²/(n + z²) = 3.8415/53.8415.
    assert (found.low, found.high) == (pytest.approx(-0.07135, abs=1e-5), pytest.approx(0.07135, abs=1e-5))
    assert found.p_value == 1


def test_arms_that_differ_on_every_task_are_told_apart():
    found = compare(measured(np.ones((3, 50))), measured(np.zeros((3, 50))))
    assert found.p_value < 1e-9
    assert 0.85 < found.low < found.high == 1


def test_a_single_ratio_tells_nothing_of_luck():
    found = compare(
        measured([[3.0]], [[2.0]], unit="nats per token"), measured([[1.0]], [[2.0]], unit="nats per token")
    )
    assert (found.difference, found.p_value) == (1, 1)
    assert (found.low, found.high, found.power, found.smallest_effect) == (None, None, None, None)


def test_a_share_whose_tasks_cannot_show_anything_has_no_smallest_effect():
    assert compare(measured([[1, 0]]), measured([[0, 0]])).smallest_effect is None


def test_arms_without_a_common_task_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"^a and b were not measured on a common task: analyse both"):
        compare(measured([[1.0]], tasks=["x"]), measured([[1.0]], tasks=["y"], name="b"))


def test_arms_of_which_nothing_was_counted_are_refused_in_one_line():
    none = measured([[0.0, 0.0]], [[0.0, 0.0]], unit="nats per token")
    with pytest.raises(UserError, match=r"^a has nothing to be compared on the common tasks: analyse more"):
        compare(none, measured([[1.0, 2.0]], [[3.0, 4.0]], name="b", unit="nats per token"))
