"""Every way to make one place of real Python code wrong, by kind: minirepo's kinds over concrete syntax trees.

In: a module's source. Out: bugs, each the whole source with one place changed and all formatting kept.

    >>> source = "def take(items, count):\\n    return items[:count]  # the first\\n"
    >>> for bug in sorted(find_bugs(source), key=lambda bug: bug.kind)[:2]:
    ...     print(bug.kind, bug.apply().splitlines()[1:])
    index ['    return items[count:]  # the first']
    missing return ['    items[:count]  # the first']
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst.metadata import ExpressionContext, ExpressionContextProvider, MetadataWrapper

from turnmix.environments.minirepo.injectors import BOUNDARIES, CALLS, COMPARISONS, OPERATORS
from turnmix.task_making.python_source import parse_source

_NAMES = {"Lt": "LessThan", "Gt": "GreaterThan", "LtE": "LessThanEqual", "GtE": "GreaterThanEqual", "Eq": "Equal",
          "NotEq": "NotEqual", "In": "In", "NotIn": "NotIn", "Add": "Add", "Sub": "Subtract", "Mult": "Multiply",
          "FloorDiv": "FloorDivide", "Mod": "Modulo"}  # fmt: skip


def _concrete(table: dict[Any, Any], suffix: str = "") -> dict[type[cst.CSTNode], type[cst.CSTNode]]:
    return {
        getattr(cst, _NAMES[old.__name__] + suffix): getattr(cst, _NAMES[new.__name__] + suffix)
        for old, new in table.items()
    }


_COMPARISONS = _concrete(COMPARISONS)
_BOUNDARIES = _concrete(BOUNDARIES)
_OPERATORS = _concrete(OPERATORS)
_ASSIGNING = _concrete(OPERATORS, "Assign")


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedBug:
    """One node of a module, and what it wrongly becomes."""

    kind: str
    function: str
    """The qualified name of the function that it is in."""
    module: cst.Module
    node: cst.CSTNode
    replacement: cst.CSTNode | None
    """None: the node is removed."""

    def apply(self) -> str:
        """The whole module's source with the bug."""
        changed: object
        if self.replacement is None:
            changed = self.module.deep_remove(self.node)
        else:
            changed = self.module.deep_replace(self.node, self.replacement)
        assert isinstance(changed, cst.Module)
        return changed.code


def find_bugs(source: str) -> list[InjectedBug]:
    """Every bug in the functions of a module. Raises one of UNREADABLE for what is no Python."""
    wrapper = MetadataWrapper(parse_source(source), unsafe_skip_copy=True)
    finder = _Finder(wrapper.module)
    wrapper.visit(finder)
    return finder.bugs


class _Finder(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (ExpressionContextProvider,)

    def __init__(self, module: cst.Module) -> None:
        super().__init__()
        self.bugs: list[InjectedBug] = []
        self._module = module
        self._names: list[str] = []
        self._parameters: list[list[str]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if self._parameters:
            context = self.get_metadata(ExpressionContextProvider, node, None)
            is_read = context is ExpressionContext.LOAD
            for kind, old, new in _mutations(node, self._parameters[-1] if is_read else []):
                function = ".".join(self._names)
                self.bugs.append(
                    InjectedBug(kind=kind, function=function, module=self._module, node=old, replacement=new)
                )
        if isinstance(node, cst.FunctionDef):
            self._parameters.append([parameter.name.value for parameter in node.params.params])
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append(node.name.value)
        # An annotation is never run, and what a decorator wraps is not the function's own.
        return not isinstance(node, cst.Annotation | cst.Decorator)

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef):
            self._parameters.pop()
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._names.pop()


Mutation = tuple[str, cst.CSTNode, cst.CSTNode | None]


def _mutations(node: cst.CSTNode, parameters: list[str]) -> Iterator[Mutation]:
    match node:
        case cst.ComparisonTarget(operator=operator):
            for kind, table in (("comparison", _COMPARISONS), ("boundary", _BOUNDARIES)):
                if type(operator) in table:
                    yield kind, operator, _like(operator, table[type(operator)])
        case cst.BooleanOperation(operator=operator):
            yield "boolean", operator, _like(operator, cst.Or if isinstance(operator, cst.And) else cst.And)
        case cst.BinaryOperation(operator=operator) if type(operator) in _OPERATORS:
            yield "operator", operator, _like(operator, _OPERATORS[type(operator)])
            if not isinstance(operator, cst.Multiply):
                yield "swapped operands", node, node.with_changes(left=node.right, right=node.left)
        case cst.AugAssign(operator=operator) if type(operator) in _ASSIGNING:
            yield "operator", operator, _like(operator, _ASSIGNING[type(operator)])
        case cst.If(test=test) | cst.IfExp(test=test):
            yield "condition", test, _negated(test)
        case cst.Subscript(slice=[cst.SubscriptElement(slice=index)]):
            yield from _index_mutations(index)
        case cst.Call():
            yield from _call_mutations(node)
        case cst.Integer(value=value) if value.isdigit():
            yield "constant", node, node.with_changes(value=str(int(value) + 1))
        case cst.Name(value="True" | "False" as value):
            yield "constant", node, node.with_changes(value=str(value != "True"))
        case cst.Name(value=value) if value in parameters:
            others = [name for name in parameters if name not in (value, "self", "cls")]
            for name in others if value not in ("self", "cls") else ():
                yield "wrong variable", node, node.with_changes(value=name)
        case cst.IndentedBlock(body=body):
            for statement in body:
                yield from _statement_mutations(statement, is_only=len(body) == 1)


def _like(operator: cst.CSTNode, kind: type[cst.CSTNode]) -> cst.CSTNode:
    """An operator of another kind with the same white space."""
    names = ("whitespace_before", "whitespace_after")
    if kind is cst.NotIn or isinstance(operator, cst.NotIn):
        return kind()
    return kind(**{name: getattr(operator, name) for name in names})


def _negated(test: cst.BaseExpression) -> cst.BaseExpression:
    if isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not):
        return test.expression
    if not isinstance(test, cst.Name | cst.Attribute | cst.Call | cst.Subscript) and not test.lpar:
        test = test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return cst.UnaryOperation(operator=cst.Not(), expression=test)


def _index_mutations(index: cst.BaseSlice) -> Iterator[Mutation]:
    if isinstance(index, cst.Slice):
        if (index.lower is None) != (index.upper is None):
            yield "index", index, index.with_changes(lower=index.upper, upper=index.lower)
    elif isinstance(index, cst.Index):
        if isinstance(index.value, cst.UnaryOperation):
            yield "index", index.value, cst.Integer("0")
        elif isinstance(index.value, cst.Integer):
            yield "index", index.value, cst.UnaryOperation(operator=cst.Minus(), expression=cst.Integer("1"))


def _call_mutations(call: cst.Call) -> Iterator[Mutation]:
    name = call.func.attr if isinstance(call.func, cst.Attribute) else call.func
    if isinstance(name, cst.Name) and name.value in CALLS:
        yield "wrong call", name, name.with_changes(value=CALLS[name.value])
    if len(call.args) == 2 and all(argument.keyword is None and not argument.star for argument in call.args):
        first, second = call.args
        swapped = (first.with_changes(value=second.value), second.with_changes(value=first.value))
        yield "swapped arguments", call, call.with_changes(args=swapped)


def _statement_mutations(statement: cst.BaseStatement, *, is_only: bool) -> Iterator[Mutation]:
    if isinstance(statement, cst.If) and statement.orelse is None and not is_only:
        yield "removed statement", statement, None
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return
    (small,) = statement.body
    if isinstance(small, cst.Return) and small.value is not None:
        yield "missing return", small, cst.Expr(value=small.value)
    is_call = isinstance(small, cst.Expr) and not isinstance(small.value, cst.BaseString | cst.Ellipsis)
    if is_call or isinstance(small, cst.AugAssign | cst.Assign | cst.Raise | cst.Del):
        replacement = statement.with_changes(body=[cst.Pass()]) if is_only else None
        yield "removed statement", statement, replacement
