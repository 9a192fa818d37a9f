"""Which tests a fix turns, from several runs of each side."""

import random

import pytest

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from turnmix.environments.swe.execution import Execution
from turnmix.making.issue import TemplateIssueWriter, collect_failures
from turnmix.making.measurement import compare, settle


def runs_of(*outcomes):
    executions = [Execution(outcomes=each, messages={test: f"{test}!" for test in each}) for each in outcomes]
    return settle(executions, seconds=1.0)


def test_a_test_that_is_not_the_same_every_time_is_in_no_list():
    fixed = runs_of(
        {"a": "passed", "b": "passed", "c": "failed"}, {"a": "passed", "b": "failed", "c": "failed"}
    )
    broken = runs_of({"a": "failed", "b": "failed"}, {"a": "failed", "b": "failed"})
    turned = compare(broken, fixed)
    assert turned.fail_to_pass == ("a",)
    assert turned.pass_to_pass == ()
    unsteady = runs_of({"a": "failed"}, {"a": "passed"})
    assert compare(unsteady, fixed).fail_to_pass == ()


def test_a_test_that_was_not_there_before_is_turned_and_a_skipped_one_is_not():
    fixed = runs_of(*2 * [{"new": "passed", "old": "xfailed", "now": "passed"}])
    broken = runs_of(*2 * [{"old": "passed", "now": "skipped"}])
    turned = compare(broken, fixed)
    assert turned.fail_to_pass == ("new",)
    assert turned.pass_to_pass == ("old",)


def test_an_issue_shows_what_fails_and_how_and_is_the_same_for_the_same_generator():
    import asyncio

    files = {"tests/test_x.py": "def test_sum_of_two():\n    assert add(1, 2) == 3\n"}
    tests = ["tests/test_x.py::test_sum_of_two[a]", "tests/test_x.py::test_sum_of_two[b]"]
    failures = collect_failures(tests, {tests[0]: "assert 4 == 3"}, files)
    assert len(failures) == 1
    texts = {asyncio.run(TemplateIssueWriter().write(failures, random.Random(1))) for _ in range(2)}
    (text,) = texts
    assert "`sum of two`" in text
    assert "assert add(1, 2) == 3" in text
    assert "assert 4 == 3" in text
