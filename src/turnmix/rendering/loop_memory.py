"""What a template's loops wrote of a conversation's messages, kept for the same conversation when it is longer.

In: a chat template, and messages as it takes them, equal ones being the same objects. Out: what it writes, to the
letter: what its loop writes of a message is a function of that message, of those before it, of the next ones where
the body looks at them, and of the variables that it reads; where all of these are as they were, so is the text. A
template whose last message, whose length or whose variables bear on every turn is written anew, as often as they
change.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, Template
from jinja2.runtime import LoopContext, Undefined
from jinja2.utils import Namespace

from turnmix.rendering.loop_rewriting import EACH, LoopReads, rewrite_loops
from turnmix.rendering.message_memory import NUM_FIRST

_MOST_BEGINNINGS = 256
_MOST_CHARACTERS = 1 << 23
_MOST_PARTS = 64
_PLAIN = (str, int, float, bool, type(None))


class _NotComparableError(Exception):
    """Of a value nobody can say whether it is as it was."""


@dataclass(slots=True)
class _Place:
    """Where a conversation stands; `item` is its last message."""

    item: Any
    texts: dict[tuple[int, ...], tuple[str, tuple[dict[str, Any], ...]]] = field(default_factory=dict)
    """By what stands ahead: what was written of `item`, and the namespaces as they were behind it."""
    next: dict[int, _Place] = field(default_factory=dict)
    latest: dict[tuple[int, ...], _Run] = field(default_factory=dict)
    """Of a beginning: how conversations went from here when they were last written, by their first messages."""
    kept: list[Any] = field(default_factory=list)
    """So that no other object gets the identity of one that was compared."""


@dataclass(frozen=True, slots=True)
class _Run:
    ids: list[int]
    places: list[_Place]
    texts: list[str]
    held: list[tuple[dict[str, Any], ...]]


class LoopMemory:
    """Renders one template. Threads may share it."""

    def __init__(self, environment: Environment, source: str, *, given: Iterable[str]) -> None:
        """`given`: the names that the template is given when it renders."""
        tree = environment.parse(source)
        names = frozenset({*given, *environment.globals})
        self._loops = rewrite_loops(tree, names)
        self._template: Template = environment.from_string(tree)
        self._undefined = environment.undefined
        self._pure = {id(environment.globals[name]) for name in ("range", "dict", "namespace")}
        if "raise_exception" in environment.globals:
            self._pure.add(id(environment.globals["raise_exception"]))
        self._lock = threading.Lock()
        self._conversations: OrderedDict[Any, _Place] = OrderedDict()
        self._characters = 0

    def render(self, variables: Mapping[str, Any]) -> str:
        """What the template writes. Raises what it raises."""
        return self._template.render({**variables, EACH: self._each})

    def _each(
        self, number: int, items: Iterable[Any], *outer: Any, caller: Callable[[Any, LoopContext], str]
    ) -> str:
        reads = self._loops[number]
        conversation = list(items)
        loop = LoopContext(conversation, self._undefined)
        try:
            if not set(map(type, conversation)) <= {dict}:
                raise _NotComparableError
            place = self._beginning(number, outer)
        except _NotComparableError:
            return "".join(caller(item, here) for item, here in loop)
        writing = _Writing(reads, conversation, loop, caller, [each for each in outer if _is_namespace(each)])
        text = writing.behind(place)
        self._count(writing.new_characters)
        return text

    def _beginning(self, number: int, outer: Sequence[Any]) -> _Place:
        key = (number, *(self._key(value) for value in outer))
        with self._lock:
            place = self._conversations.setdefault(key, _Place(None))
            self._conversations.move_to_end(key)
            if len(self._conversations) > _MOST_BEGINNINGS:
                self._conversations.popitem(last=False)
        return place

    def _count(self, new_characters: int) -> None:
        with self._lock:
            self._characters += new_characters
            if self._characters > _MOST_CHARACTERS:
                self._conversations.clear()
                self._characters = 0

    def _key(self, value: Any) -> Any:
        """What is equal for equal values alone."""
        if _is_namespace(value):
            return (Namespace, _key(_attributes(value)))
        if id(value) in self._pure:
            return (type(value), id(value))
        return _key(value)


def _key(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return (kind, repr(value))  # 0.0 is not -0.0
    if kind in _PLAIN:
        return (kind, value)
    if kind is dict and len(value) <= _MOST_PARTS:
        return (kind, *((_key(name), _key(item)) for name, item in value.items()))
    if kind in (list, tuple) and len(value) <= _MOST_PARTS:
        return (kind, *map(_key, value))
    if isinstance(value, Undefined):
        return (Undefined,)
    raise _NotComparableError


class _Writing:
    """One run of a loop over one conversation."""

    def __init__(
        self,
        reads: LoopReads,
        items: list[Any],
        loop: LoopContext,
        caller: Callable[[Any, LoopContext], str],
        namespaces: list[Any],
    ) -> None:
        self._reads = reads
        self._items = items
        self._ids = list(map(id, items))
        self._loop = loop
        self._caller = caller
        self._namespaces = namespaces if reads.writes else []
        self.new_characters = 0

    def behind(self, beginning: _Place) -> str:
        """All that the loop writes."""
        ahead, wrapping, ids = self._reads.ahead, self._reads.wrapping, self._ids
        run = self._shared(beginning.latest.get(tuple(ids[:NUM_FIRST])))
        place = run.places[-1] if run.places else beginning
        held = run.held[-1] if run.held else None
        is_known = True
        for index in range(len(run.ids), len(ids)):
            found = place.next.get(ids[index])
            place = found or place.next.setdefault(ids[index], _Place(self._items[index]))
            window = tuple(ids[index + 1 : index + 1 + ahead])
            known = place.texts.get(window) if index >= wrapping else None
            if known is None:
                self._restore(held)
                text = self._written(index)
                held = tuple(dict(_attributes(each)) for each in self._namespaces)
                is_known = is_known and _are_comparable(held)
                if is_known and index >= wrapping:
                    place.texts[window] = (text, held)
                    place.kept.append(self._items[index + 1 : index + 1 + ahead])
                    self.new_characters += len(text)
            else:
                text, held = known
            run.places.append(place)
            run.texts.append(text)
            run.held.append(held)
        run.ids.extend(ids[len(run.ids) :])
        if is_known and not wrapping:
            beginning.latest[tuple(ids[:NUM_FIRST])] = run
        self._restore(held)
        return "".join(run.texts)

    def _shared(self, latest: _Run | None) -> _Run:
        """As far as this conversation goes as the latest one did."""
        if latest is None:
            return _Run([], [], [], [])
        size = min(len(latest.ids), len(self._ids))
        if latest.ids[:size] != self._ids[:size]:
            size = next(index for index in range(size) if latest.ids[index] != self._ids[index])
        elif len(latest.ids) == len(self._ids):
            size += self._reads.ahead  # equal, and nothing lies ahead of either
        size = max(0, size - self._reads.ahead)
        return _Run(latest.ids[:size], latest.places[:size], latest.texts[:size], latest.held[:size])

    def _written(self, index: int) -> str:
        while self._loop.index0 < index:
            next(self._loop)
        return self._caller(self._items[index], self._loop)

    def _restore(self, held: tuple[dict[str, Any], ...] | None) -> None:
        for namespace, attributes in zip(self._namespaces, held or (), strict=False):
            _attributes(namespace).clear()
            _attributes(namespace).update(attributes)


def _are_comparable(held: tuple[dict[str, Any], ...]) -> bool:
    """Is all that namespaces hold a value, which nothing changes?"""
    try:
        return all(_key(attributes) is not None for attributes in held)
    except _NotComparableError:
        return False


def _is_namespace(value: Any) -> bool:
    return isinstance(value, Namespace)


def _attributes(namespace: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = namespace._Namespace__attrs
    return attributes
