"""Bugs in real code: every kind is found, one place changes, and all formatting stays."""

import difflib
import doctest
import subprocess
import sys

import pytest

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from turnmix.task_making import hidden_tests, injectors
from turnmix.task_making.hidden_tests import test_source as source_of_test
from turnmix.task_making.hidden_tests import without_tests
from turnmix.task_making.injectors import find_bugs

MODULE = '''\
"""A module with   odd formatting."""
LIMIT = 3  # no function: never touched

class Shelf:
    def take(self, items , count = 2, *, strict=False):
        """Take some."""
        if count<len(items) and not strict:   # kept comment
            raise ValueError(  "too many"  )
        self.taken += count
        total = max(items[0], count - 1)
        for item in items[:count] :
            self.log( item, total )
        return total >= count
'''
EXPECTED = {
    "comparison": "if count>len(items) and not strict:   # kept comment",
    "boundary": "if count<=len(items) and not strict:   # kept comment",
    "boolean": "if count<len(items) or not strict:   # kept comment",
    "condition": "if not (count<len(items) and not strict):   # kept comment",
    "operator": "total = max(items[0], count + 1)",
    "swapped operands": "total = max(items[0], 1 - count)",
    "wrong call": "total = min(items[0], count - 1)",
    "swapped arguments": "total = max(count - 1, items[0])",
    "index": "for item in items[count:] :",
    "constant": "total = max(items[0], count - 2)",
    "wrong variable": "for item in items[:items] :",
    "missing return": "total >= count",
}


def changed_lines(wrong, source=MODULE):
    lines = difflib.ndiff(source.splitlines(), wrong.splitlines())
    return [line[2:].strip() for line in lines if line[0] == "+"], [
        line[2:].strip() for line in difflib.ndiff(source.splitlines(), wrong.splitlines()) if line[0] == "-"
    ]


@pytest.mark.parametrize(("kind", "line"), EXPECTED.items(), ids=EXPECTED)
def test_one_line_changes_and_keeps_its_formatting_in(kind, line):
    added = [changed_lines(bug.apply())[0] for bug in find_bugs(MODULE) if bug.kind == kind]
    assert [line] in added


def test_a_removed_statement_is_gone_or_the_only_one_becomes_pass():
    removed = [changed_lines(bug.apply()) for bug in find_bugs(MODULE) if bug.kind == "removed statement"]
    assert ([], ["self.taken += count"]) in removed
    assert (["pass"], ["self.log( item, total )"]) in removed
    assert any('raise ValueError(  "too many"  )' in gone and len(gone) == 2 for _, gone in removed)


def test_every_bug_is_python_and_names_its_function():
    bugs = find_bugs(MODULE)
    assert len(bugs) > 25
    for bug in bugs:
        compile(bug.apply(), "module.py", "exec")
        assert bug.function == "Shelf.take"
        assert bug.apply() != MODULE
        assert "LIMIT = 3 " in bug.apply()


TESTS = """\
import pytest

class Base:
    def test_shared(self): assert True

class TestOne(Base):
    @pytest.mark.slow
    def test_a(self):
        assert 1

class TestTwo:
    def test_a(self):
        assert 2

def test_a(): assert 3
def test_b(): assert 4
"""


def test_hidden_tests_are_gone_and_all_others_stay():
    shown = without_tests(TESTS, {("TestTwo", "test_a"), ("test_a",)})
    without_two = TESTS.replace("    def test_a(self):\n        assert 2\n", "    pass\n")
    assert shown == without_two.replace("\ndef test_a(): assert 3\n", "")


def test_an_inherited_test_is_hidden_with_its_class():
    assert "TestOne" not in without_tests(TESTS, {("TestOne", "test_shared")})


def test_the_source_of_a_test_is_shown_without_its_indentation():
    assert (
        source_of_test(TESTS, ("TestOne", "test_a")) == "@pytest.mark.slow\ndef test_a(self):\n    assert 1"
    )
    assert source_of_test(TESTS, ("TestOne", "test_shared")) is None


def test_the_worked_examples_hold():
    for module in (injectors, hidden_tests):
        assert doctest.testmod(module).failed == 0


NESTED = {
    "brackets": "x = " + "(" * 200_000 + ")" * 200_000,
    "signs": "x = " + "-" * 100_000 + "1",
    "sums": "x = " + "1 + " * 100_000 + "1",
    "attributes": "x = a" + ".b" * 100_000,
    "conditions": "x = " + "1 and " * 100_000 + "1",
    "patterns": "match x:\n    case " + "[" * 60 + "]" * 60 + ": pass",
}


@pytest.mark.parametrize("source", NESTED.values(), ids=NESTED)
def test_a_module_nested_without_end_is_refused_and_ends_nothing(source):
    # In a process of its own: a parser that recurses without a limit would end this one.
    script = (
        "import sys\nfrom turnmix.task_making.injectors import find_bugs\n"
        "from turnmix.task_making.python_source import UNREADABLE\n"
        "try:\n    find_bugs(sys.stdin.read())\nexcept UNREADABLE:\n    print('refused')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], input=source, capture_output=True, text=True, timeout=300
    )
    assert ended.stdout == "refused\n", ended.stderr[-500:]
