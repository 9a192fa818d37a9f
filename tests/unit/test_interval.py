import doctest

import pytest

from turnmix.evaluation import interval
from turnmix.evaluation.interval import wilson


def test_the_worked_examples_hold():
    failed, attempted = doctest.testmod(interval)
    assert attempted > 0
    assert failed == 0


def test_no_success_and_no_failure_give_one_sided_intervals():
    # k = 0: high = z²/(n + z²) = 3.8415/203.8415; k = n mirrors it.
    assert wilson(0, 200) == (0.0, pytest.approx(3.8414588 / 203.8414588))
    assert wilson(200, 200) == (pytest.approx(200 / 203.8414588), 1.0)


def test_the_ends_are_exact_for_every_number_of_tasks():
    assert {wilson(0, n)[0] for n in range(1, 2000)} == {0.0}
    assert {wilson(n, n)[1] for n in range(1, 2000)} == {1.0}


def test_the_interval_solves_the_equation_it_comes_from():
    # At both ends p: |k/n − p| = z·√(p(1−p)/n).
    for k, n in ((1, 10), (37, 200), (150, 200)):
        for end in wilson(k, n):
            assert abs(k / n - end) == pytest.approx(1.959963985 * (end * (1 - end) / n) ** 0.5)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="between 0 and n = 10, not 11"):
        wilson(11, 10)
