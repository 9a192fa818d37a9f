"""One minirepo: modules of short functions, their tests, one to three bugs, the issue and the gold patch.

Everything is drawn from the generator passed in; the tests are really run before and after the gold patch.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnmix.environments.minirepo.injectors import Bug, find_bugs
from turnmix.environments.minirepo.kinds import draw_argument
from turnmix.environments.minirepo.templates import MODULES, NOUNS, TEMPLATES, Template
from turnmix.environments.oracle.solution import Solution

TEST_COMMAND = "python3 run_tests.py"

RUNNER = '''\
"""Run every test of test_repo.py; a line for each failure."""

import sys


def main():
    try:
        import test_repo
    except BaseException as error:
        print("ERROR", type(error).__name__)
        return 2
    tests = [name for name in dir(test_repo) if name.startswith("test_")]
    failed = 0
    for name in tests:
        try:
            getattr(test_repo, name)()
        except BaseException as error:
            failed += 1
            print("FAIL", name, type(error).__name__)
    print(failed, "failed,", len(tests) - failed, "passed")
    return 1 if failed else 0


sys.exit(main())
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call and the value it should return."""

    module: str
    function: str
    arguments: tuple[Any, ...]
    expected: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A broken repository, its issue, and its solution."""

    files: Mapping[str, str]
    problem_statement: str
    kinds: tuple[str, ...]
    """The kinds of its bugs."""
    solution: Solution
    cases: tuple[Case, ...]
    """Calls that decide the verdict: those of the visible tests and others that the agent never sees."""


@dataclass(slots=True)
class _Function:
    module: str
    name: str
    template: Template
    source: str
    cases: list[Case]
    bug: Bug | None = None

    def broken(self) -> str:
        if self.bug is None:
            return self.source
        lines = self.source.split("\n")
        lines[self.bug.line] = self.bug.text
        return "\n".join(lines)


def make_repository(
    generator: random.Random, *, modules: tuple[int, int], bugs: tuple[int, int]
) -> Repository:
    """Draw one repository with a number of modules and of bugs in the given inclusive ranges."""
    functions = _draw_functions(generator, generator.randint(*modules))
    num_bugs = generator.randint(*bugs)
    broken_modules = generator.sample(sorted({function.module for function in functions}), num_bugs)
    for module in broken_modules:
        _break_one([function for function in functions if function.module == module], generator)
    broken = [function for function in functions if function.bug is not None]
    gold = {f"{module}.py": _module_source(functions, module) for module in broken_modules}
    files = {f"{f.module}.py": _module_source(functions, f.module, broken=True) for f in functions}
    files["test_repo.py"] = _test_source(functions)
    files["run_tests.py"] = RUNNER
    _check(functions)
    return Repository(
        files=dict(sorted(files.items())),
        problem_statement=_issue(broken, generator),
        kinds=tuple(function.bug.kind for function in broken if function.bug is not None),
        solution=Solution(files=gold, test_command=TEST_COMMAND),
        cases=tuple(case for function in functions for case in function.cases),
    )


VISIBLE_CASES = 3
"""The first cases of each function are its visible test."""
ONE_LINE_WEIGHT = 3
"""How much more often a template of one line is drawn than a longer one, in which the wrong line has to be found."""
WEIGHTS = [1 if "\n" in template.body else ONE_LINE_WEIGHT for template in TEMPLATES]


def _draw_functions(generator: random.Random, num_modules: int) -> list[_Function]:
    functions: list[_Function] = []
    names: set[str] = set()
    for module in sorted(generator.sample(MODULES, num_modules)):
        for _ in range(generator.randint(2, 3)):
            (template,) = generator.choices(TEMPLATES, WEIGHTS)
            name = f"{generator.choice(template.verbs)}_{generator.choice(NOUNS)}"
            if name in names:
                continue
            names.add(name)
            source = template.write(name, generator)
            functions.append(_Function(module, name, template, source, []))
            functions[-1].cases.extend(_draw_cases(functions[-1], generator))
    return functions


def _draw_cases(function: _Function, generator: random.Random) -> list[Case]:
    call = _load(function.source, function.name)
    cases = []
    for number in range(2 * VISIBLE_CASES):
        kinds = function.template.kinds()
        if number % VISIBLE_CASES == 0:  # the defaults are tested too
            kinds = tuple(kind for kind, full in zip(kinds, function.template.parameters) if "=" not in full)
        arguments = tuple(draw_argument(kind, generator) for kind in kinds)
        if number % VISIBLE_CASES == 1 and "low" in kinds:  # and so are the boundaries
            arguments = _at_boundary(kinds, arguments, "low")
        if number % VISIBLE_CASES == 2 and "high" in kinds:
            arguments = _at_boundary(kinds, arguments, "high")
        expected = call(*arguments)
        cases.append(
            Case(module=function.module, function=function.name, arguments=arguments, expected=expected)
        )
    return cases


def _at_boundary(kinds: tuple[str, ...], arguments: tuple[Any, ...], bound: str) -> tuple[Any, ...]:
    value = arguments[kinds.index(bound)]
    changed = list(arguments)
    for position, kind in enumerate(kinds):
        if kind == "number":
            changed[position] = value
        if kind == "numbers":
            changed[position] = [*arguments[position], value]
    return tuple(changed)


def _break_one(functions: list[_Function], generator: random.Random) -> None:
    """Give one of the functions a bug that its visible test catches; kinds are drawn evenly."""
    function = generator.choice(functions)
    bugs = find_bugs(function.source)
    while True:
        kind = generator.choice(sorted({bug.kind for bug in bugs}))
        function.bug = generator.choice([bug for bug in bugs if bug.kind == kind])
        if not _passes(function.broken(), function.cases[:VISIBLE_CASES]):
            return
        bugs.remove(function.bug)
        if not bugs:
            raise AssertionError(f"no test catches a bug in {function.name}")


def _load(source: str, name: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(compile(source, "<minirepo>", "exec"), namespace)
    return namespace[name]


def _passes(source: str, cases: list[Case]) -> bool:
    try:
        call = _load(source, cases[0].function)
        return all(same_value(call(*case.arguments), case.expected) for case in cases)
    except Exception:
        return False


def same_value(actual: Any, expected: Any) -> bool:
    """Equal in value and in type, all the way down: True is not 1."""
    if type(actual) is not type(expected):
        return False
    if isinstance(expected, list):
        return len(actual) == len(expected) and all(map(same_value, actual, expected))
    return bool(actual == expected)


def _check(functions: list[_Function]) -> None:
    """Run the visible tests before and after the gold patch: broken functions fail, all others pass."""
    for function in functions:
        visible = function.cases[:VISIBLE_CASES]
        assert _passes(function.source, function.cases), function.name
        assert _passes(function.broken(), visible) == (function.bug is None), function.name


def _module_source(functions: list[_Function], module: str, *, broken: bool = False) -> str:
    members = [function for function in functions if function.module == module]
    return "\n".join(function.broken() if broken else function.source for function in members)


def _test_source(functions: list[_Function]) -> str:
    modules = sorted({function.module for function in functions})
    parts = ['"""Tests of every function."""\n', "".join(f"import {module}\n" for module in modules)]
    for function in functions:
        lines = [f"def test_{function.name}():"]
        for case in function.cases[:VISIBLE_CASES]:
            call = f"{case.module}.{case.function}({', '.join(map(repr, case.arguments))})"
            check = (
                f"is {case.expected}"
                if case.expected is None or isinstance(case.expected, bool)
                else f"== {case.expected!r}"
            )
            lines.append(f"    assert {call} {check}")
        parts.append("\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _issue(broken: list[_Function], generator: random.Random) -> str:
    """What a user would report: one wrong call, and that there may be more."""
    function = generator.choice(broken)
    case = next(case for case in function.cases if not _passes(function.broken(), [case]))
    call = f"{function.name}({', '.join(map(repr, case.arguments))})"
    return f"{call} should return {case.expected!r}, but it does not. Other functions may be wrong as well."
