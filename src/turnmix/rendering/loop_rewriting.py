"""A template's loops over messages become calls: what they write of each message can then be kept for the next prompt.

In: a template's syntax tree. Out: the same tree, in which

    {% for message in messages %} BODY {% endfor %}

is a call of `each`, which is given the items, what else BODY reads, and BODY itself. Only loops are rewritten of which
the tree shows what BODY may depend on. All others stay: they are right, and slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

EACH = "turnmix_each"
_PLACE = frozenset({"first", "index", "index0", "previtem", "depth", "depth0", "cycle"})
_PLACE_AHEAD = frozenset({"last", "nextitem"})
_UNREADABLE = (
    nodes.Block,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.EvalContextModifier,
    nodes.ContextReference,
    nodes.DerivedContextReference,
)
_NO_FUNCTIONS = frozenset({"random", "sameas"})
"""What they tell is no function of values."""
_OF_MACROS = frozenset({"caller", "varargs", "kwargs", "self", "super"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopReads:
    """What one loop's body reads beside its item and what stands before that."""

    number: int
    """Of the loop in its template."""
    ahead: int
    """So many items behind its own may bear on what is written of an item."""
    wrapping: int
    """So many first items may be written by the last ones: an index below 0 counts from the end."""
    names: tuple[str, ...]
    """Variables from outside."""
    writes: bool
    """Does it change namespaces?"""


@dataclass(slots=True)
class _Found:
    ahead: int = 0
    behind: int = 0
    names: set[str] = field(default_factory=set)
    writes: bool = False


class _Opaque(Exception):
    """The tree does not show what a body depends on."""


def rewrite_loops(tree: nodes.Template, given: frozenset[str]) -> list[LoopReads]:
    """Rewrites the loops of `tree` in place; of each that was, what it reads. `given`: the names that a template is
    given when it renders."""
    if any(True for _ in tree.find_all(_UNREADABLE)) or any(
        each.name == EACH for each in tree.find_all(nodes.Name)
    ):
        return []
    if any(each.name in _NO_FUNCTIONS for each in tree.find_all((nodes.Filter, nodes.Test))):
        return []
    rewriter = _Rewriter(tree, given)
    rewriter.visit(tree)
    return rewriter.rewritten


class _Rewriter(NodeTransformer):
    def __init__(self, tree: nodes.Template, given: frozenset[str]) -> None:
        self._tree = tree
        self._given = given
        self._macros = _single_macros(tree)
        self.rewritten: list[LoopReads] = []

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return node

    visit_CallBlock = visit_FilterBlock = visit_AssignBlock = visit_Macro

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive or node.test is not None or node.else_ or not isinstance(node.target, nodes.Name):
            return node
        try:
            reads = self._reads(node)
        except _Opaque:
            return node
        self.rewritten.append(reads)
        loaded = [nodes.Name(name, "load") for name in reads.names]
        call = nodes.Call(
            nodes.Name(EACH, "load"), [nodes.Const(reads.number), node.iter, *loaded], [], None, None
        )
        parameters = [nodes.Name(node.target.name, "param"), nodes.Name("loop", "param")]
        return nodes.CallBlock(call, parameters, [], node.body).set_lineno(node.lineno)

    def _reads(self, node: nodes.For) -> LoopReads:
        assert isinstance(node.target, nodes.Name)
        item = node.target.name
        found = _Found()
        stored = set(_stored(node.body))
        iterated = node.iter.name if isinstance(node.iter, nodes.Name) else None
        if item in stored or iterated == item:
            raise _Opaque
        for child in node.body:
            _look(child, None if iterated in stored else iterated, found, has_loop=True)
        self._add_macros(found)
        if found.behind and found.writes:
            raise _Opaque
        found.names -= {item, "loop"}
        outside = self._given | set(_stored([self._tree], but=node))
        return LoopReads(
            number=len(self.rewritten),
            ahead=found.ahead,
            wrapping=found.behind,
            names=tuple(sorted(found.names & outside)),
            writes=found.writes,
        )

    def _add_macros(self, found: _Found) -> None:
        """A macro reads what its body does, wherever it is called."""
        seen: set[str] = set()
        while names := (found.names & self._macros.keys()) - seen:
            for name in names:
                seen.add(name)
                for child in self._macros[name].iter_child_nodes():
                    _look(child, None, found, has_loop=False)
        found.names -= seen


def _look(node: nodes.Node, iterated: str | None, found: _Found, *, has_loop: bool) -> None:
    """Add to `found` what `node` reads. `has_loop`: does `loop` mean the loop that is looked at?"""
    if isinstance(node, (nodes.Break, nodes.Continue, nodes.Macro)):
        raise _Opaque
    if isinstance(node, nodes.Getattr) and _is_loop(node.node) and has_loop:
        if node.attr in _PLACE_AHEAD:
            found.ahead = max(found.ahead, 1)
        elif node.attr not in _PLACE:
            raise _Opaque
        return
    if has_loop and iterated is not None and (step := _step_from_here(node, iterated)) is not None:
        found.ahead = max(found.ahead, step)
        found.behind = max(found.behind, -step)
        return
    if isinstance(node, nodes.NSRef):
        found.names.add(node.name)
        found.writes = True
        return
    if isinstance(node, nodes.Name):
        if node.name in _OF_MACROS or (has_loop and node.name == "loop"):
            raise _Opaque
        if node.ctx == "load":
            found.names.add(node.name)
        return
    if isinstance(node, nodes.For):
        _look(node.iter, iterated, found, has_loop=has_loop)
        for child in node.body:
            _look_inside(child, iterated, found)
        for child in (*node.else_, *([node.test] if node.test is not None else [])):
            _look(child, None, found, has_loop=False)
        return
    for child in node.iter_child_nodes():
        _look(child, iterated, found, has_loop=has_loop)


def _look_inside(node: nodes.Node, iterated: str | None, found: _Found) -> None:
    """In a loop within the loop, which may be left, and has a `loop` of its own."""
    if isinstance(node, (nodes.Break, nodes.Continue)):
        return
    if isinstance(node, (nodes.If,)):
        _look(node.test, None, found, has_loop=False)
        for child in (*node.body, *node.elif_, *node.else_):
            _look_inside(child, iterated, found)
        return
    _look(node, None, found, has_loop=False)


def _step_from_here(node: nodes.Node, iterated: str) -> int | None:
    """How far from the loop's item one lies that is taken from what the loop runs over; None: nothing is."""
    if not (
        isinstance(node, nodes.Getitem) and isinstance(node.node, nodes.Name) and node.node.name == iterated
    ):
        return None
    place = node.arg
    if _is_index(place):
        return 0
    if isinstance(place, (nodes.Add, nodes.Sub)) and _is_index(place.left):
        step = place.right.value if isinstance(place.right, nodes.Const) else None
        if type(step) is int and 0 <= step <= 9:
            return step if isinstance(place, nodes.Add) else -step
    return None


def _is_index(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Getattr) and _is_loop(node.node) and node.attr == "index0"


def _is_loop(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "loop"


def _stored(within: list[nodes.Node], *, but: nodes.Node | None = None) -> Iterator[str]:
    """The names that are given a value, macros too."""
    for node in within:
        if node is but:
            continue
        if isinstance(node, nodes.Macro):
            yield node.name
        if isinstance(node, nodes.Name) and node.ctx != "load":
            yield node.name
        yield from _stored(list(node.iter_child_nodes()), but=but)


def _single_macros(tree: nodes.Template) -> dict[str, nodes.Macro]:
    """Macros of the template itself whose names mean nothing else."""
    names = list(_stored([tree]))
    return {
        each.name: each for each in tree.body if isinstance(each, nodes.Macro) and names.count(each.name) == 1
    }
