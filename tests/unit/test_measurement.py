"""Which tests a fix turns, from several runs of each side."""

import random

import pytest

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from turnmix.environments.repositories.archive.execution import Execution
from turnmix.task_making.issue import Failure, TemplateIssueWriter, collect_failures, opening
from turnmix.task_making.measurement import compare, settle, why_none_pass


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
    assert "`4 == 3`" in text.split("\n")[0]
    assert "assert add(1, 2) == 3" in text
    assert "assert 4 == 3" in text


OPENINGS = {
    "assert 4 == 3\n + where 4 = add(1, 2)": "`4 == 3`",
    "AssertionError: assert [1] == [1, 2]": "`[1] == [1, 2]`",
    "TypeError: take() missing 1 argument": "`TypeError: take() missing 1 argument`",
    "KeyError": "`KeyError`",
    "": "",
}


@pytest.mark.parametrize(("message", "told"), OPENINGS.items())
def test_an_issue_begins_with_how_it_fails_and_names_no_test(message, told):
    failure = Failure(name="test_regression_1234", source="", message=message)
    for seed in range(9):
        first = opening(failure, random.Random(seed))
        assert told in first
        assert "1234" not in first
        assert ("`" in first) == bool(told)


def test_of_tests_whose_module_cannot_be_imported_the_error_is_told_and_not_the_place():
    place = "ImportError while importing test module '/testbed/tests/test_x.py'."
    error = f"{place}\nE   ImportError: cannot import name 'new'"
    (failure,) = collect_failures(["tests/test_x.py::test_new"], {"tests/test_x.py": error}, {})
    assert failure.message == "ImportError: cannot import name 'new'"


STARTS = {
    "pytest.main(): error: unrecognized arguments: --cov=x\n  inifile: /testbed/pytest.ini": "unrecognized arguments",
    "ImportError while loading conftest '/testbed/tests/conftest.py'.\nE   ImportError: No module named 'yaml'": (
        "tests/conftest.py cannot be loaded: ImportError: No module named 'yaml'"
    ),
    "INTERNALERROR> pluggy.PluginValidationError: unknown hook 'pytest_namespace' in plugin <module 'conftest' from "
    "'/testbed/conftest.py'>\n\nno tests ran in 0.02s": "conftest.py was written for another version of pytest: ",
    "pluggy._manager.PluginValidationError: Plugin '/testbed/a/conftest.py' for hook 'pytest_collect_file'\nhookimpl "
    "definition: pytest_collect_file(path, parent)\nArgument(s) {'path'} are declared in the hookimpl but can not be "
    "found in the hookspec": "a/conftest.py was written for another version of pytest: ",
    "": "it printed nothing",
}


@pytest.mark.parametrize(("log", "told"), STARTS.items(), ids=range(len(STARTS)))
def test_why_pytest_ran_no_test_is_told_in_its_own_words(log, told):
    assert told in why_none_pass(settle([Execution(log=log)], seconds=1.0))


def test_where_every_test_fails_the_first_ones_reason_is_told():
    assert why_none_pass(runs_of({"a": "error", "b": "failed"})) == "none of 2 tests passes; a: a!"
