"""One bug at a time: every way to make one line of a function wrong, by kind.

Works on the syntax tree of single lines, so a bug replaces exactly one line and the rest stays untouched.

    >>> function = "def take_pens(ages, count):\\n    return ages[:count]\\n"
    >>> for bug in sorted(find_bugs(function), key=str)[:2]:
    ...     print(bug.kind, bug.line, bug.text)
    index 1     return ages[count:]
    missing return 1     ages[:count]
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.Gt: ast.Lt,
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
}
BOUNDARIES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
CALLS = {"max": "min", "min": "max", "sum": "len", "len": "sum", "sorted": "list", "upper": "lower"}


@dataclass(frozen=True, slots=True)
class Bug:
    """One line of a function, and what it wrongly becomes."""

    kind: str
    line: int
    """From 0, within the function."""
    text: str
    """The wrong line, with its indentation."""


Mutation = Callable[[], None]


def find_bugs(function: str) -> list[Bug]:
    """Every single-line bug of `function` (source of one function in normal form), without repetitions."""
    lines = function.rstrip("\n").split("\n")
    parameters = [argument.arg for argument in _function_node(function).args.args]
    found: dict[tuple[int, str], Bug] = {}
    for number, line in enumerate(lines):
        if '"""' in line:
            continue
        for kind, text in mutate_line(line, parameters, is_signature=number == 0):
            if text != line:
                found.setdefault((number, text), Bug(kind, number, text))
    return list(found.values())


def _function_node(function: str) -> ast.FunctionDef:
    node = ast.parse(function).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def mutate_line(line: str, parameters: list[str], *, is_signature: bool) -> Iterator[tuple[str, str]]:
    """Every (kind, wrong line) of one line, repetitions included. Raises SyntaxError for what is no statement."""
    indentation = line[: len(line) - len(line.lstrip())]
    code = line.strip()
    if code.startswith("return "):
        yield "missing return", indentation + code[len("return ") :]
    is_block = code.endswith(":")
    tree = ast.parse(code + " pass" if is_block else code)
    mutations = list(_mutations(tree, parameters, is_signature=is_signature))
    for index in range(len(mutations)):
        mutated = copy.deepcopy(tree)
        kind, mutate = list(_mutations(mutated, parameters, is_signature=is_signature))[index]
        mutate()
        text = ast.unparse(mutated)
        if is_block:
            text = text.split("\n")[0]
        yield kind, indentation + text


def _mutations(tree: ast.AST, parameters: list[str], *, is_signature: bool) -> Iterator[tuple[str, Mutation]]:
    """All mutations of a tree, in a fixed order; each changes the tree in place when called."""
    for node in ast.walk(tree):
        if is_signature:
            yield from _default_mutations(node)
        elif isinstance(node, ast.Compare):
            yield from _comparison_mutations(node)
        elif isinstance(node, ast.BoolOp):
            opposite = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "boolean", partial(setattr, node, "op", opposite)
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
            yield "operator", partial(setattr, node, "op", OPERATORS[type(node.op)]())
            if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Mult):
                yield "swapped operands", partial(_swap, node, "left", "right")
        elif isinstance(node, ast.If):
            yield "condition", partial(setattr, node, "test", ast.UnaryOp(ast.Not(), node.test))
        elif isinstance(node, ast.Subscript):
            yield from _index_mutations(node)
        elif isinstance(node, ast.Call):
            yield from _call_mutations(node)
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield "constant", partial(setattr, node, "value", node.value + 1)
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield "constant", partial(setattr, node, "value", not node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters:
            for name in parameters:
                if name != node.id:
                    yield "wrong variable", partial(setattr, node, "id", name)


def _default_mutations(node: ast.AST) -> Iterator[tuple[str, Mutation]]:
    for default in node.defaults if isinstance(node, ast.arguments) else ():
        if isinstance(default, ast.Constant) and type(default.value) is int:
            yield "wrong default", partial(setattr, default, "value", default.value + 1)


def _comparison_mutations(node: ast.Compare) -> Iterator[tuple[str, Mutation]]:
    operator = type(node.ops[0])
    if operator in COMPARISONS:
        yield "comparison", partial(setattr, node, "ops", [COMPARISONS[operator]()])
    if operator in BOUNDARIES:
        yield "boundary", partial(setattr, node, "ops", [BOUNDARIES[operator]()])


def _call_mutations(node: ast.Call) -> Iterator[tuple[str, Mutation]]:
    if isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield "wrong call", partial(setattr, node.func, "id", CALLS[node.func.id])
    if isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
        yield "wrong call", partial(setattr, node.func, "attr", CALLS[node.func.attr])
    if len(node.args) == 2:
        yield "swapped arguments", node.args.reverse


def _index_mutations(node: ast.Subscript) -> Iterator[tuple[str, Mutation]]:
    index = node.slice
    if isinstance(index, ast.Slice):
        yield "index", partial(_swap, index, "lower", "upper")
    elif isinstance(index, ast.UnaryOp):
        yield "index", partial(setattr, node, "slice", ast.Constant(0))
    elif isinstance(index, ast.Constant):
        yield "index", partial(setattr, node, "slice", ast.UnaryOp(ast.USub(), ast.Constant(1)))


def _swap(node: ast.AST, first: str, second: str) -> None:
    one, other = getattr(node, first), getattr(node, second)
    setattr(node, first, other)
    setattr(node, second, one)
