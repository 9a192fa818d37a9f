"""Tests that an agent must not get: their sources, and their files without them.

In: a test file and the ids of tests in it. Out: the file without those tests, and the text of each.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection

import libcst as cst

from turnmix.task_making.python_source import parse_source

Place = tuple[str, ...]
"""A test's class names and function name."""


def place(test: str) -> tuple[str, Place]:
    """A test's file, and where in it the test is.

    >>> place("tests/test_a.py::TestA::test_it[x::y]")
    ('tests/test_a.py', ('TestA', 'test_it'))
    """
    path, *names = test.partition("[")[0].split("::")
    return path, tuple(names)


def without_tests(source: str, places: Collection[Place]) -> str:
    """The file's source without the tests at `places`.

    A test that its class inherits is hidden with its class, where nothing else in the file names that. A test
    that is in no class and no function of the file stays.
    """
    module = parse_source(source)
    hider = _Hider(places)
    changed = module.visit(hider)
    classes = {
        found[:-1] for found in places if len(found) > 1 and found not in hider.hidden and found[0] in source
    }
    alone = [name for name in classes if len(re.findall(rf"\b{re.escape(name[-1])}\b", source)) == 1]
    return changed.visit(_Hider(alone)).code if alone else changed.code


def test_source(source: str, wanted: Place) -> str | None:
    """The text of one test function, without its indentation; None when it is not in the file."""
    module = parse_source(source)
    finder = _Finder(wanted)
    module.visit(finder)
    if finder.found is None:
        return None
    node = finder.found.with_changes(leading_lines=())
    return textwrap.dedent(module.code_for_node(node)).strip("\n")


class _Finder(cst.CSTVisitor):
    def __init__(self, wanted: Place) -> None:
        super().__init__()
        self._wanted = wanted
        self._names: list[str] = []
        self.found: cst.FunctionDef | None = None

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._names.append(node.name.value)

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:
        self._names.pop()

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        if (*self._names, node.name.value) == self._wanted:
            self.found = node
        return False


class _Hider(cst.CSTTransformer):
    def __init__(self, places: Collection[Place]) -> None:
        super().__init__()
        self._places = frozenset(places)
        self._names: list[str] = []
        self.hidden: set[Place] = set()

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._names.append(node.name.value)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        return False  # what is defined inside a function is no test

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef | cst.RemovalSentinel:
        here = tuple(self._names)
        self._names.pop()
        if here in self._places:
            return cst.RemoveFromParent()
        if not updated_node.body.body and original_node.body.body:
            filler = cst.IndentedBlock(body=[cst.SimpleStatementLine(body=[cst.Pass()])])
            return updated_node.with_changes(body=filler)
        return updated_node

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef | cst.RemovalSentinel:
        here = (*self._names, original_node.name.value)
        if here not in self._places:
            return updated_node
        self.hidden.add(here)
        return cst.RemoveFromParent()
