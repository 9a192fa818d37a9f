"""What is left to repair in one file: the gold hunks not yet applied, or that the file is damaged.

A file is intact when it is its base text with some of the gold hunks applied; anything else is damage.

    >>> plan = plan_repair("a\\nb\\nc\\n", "a\\nB\\nC\\n", current="a\\nB\\nc\\n")
    >>> [(hunk.line, hunk.old, hunk.new) for hunk in plan or ()]
    [(3, ('c',), ('C',))]
    >>> plan_repair("a\\nb\\n", "a\\nB\\n", current="x\\nb\\n") is None
    True
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """Lines `line`… of the current file (from 1) hold `old` and should hold `new`."""

    line: int
    old: tuple[str, ...]
    new: tuple[str, ...]


_Chosen = tuple[Hunk, "_Chosen | None"]
"""A hunk, and those chosen before it."""


def plan_repair(base: str, gold: str, current: str) -> tuple[Hunk, ...] | None:
    """The hunks still to apply to `current`, in order; None when it is damaged."""
    old, new, now = base.split("\n"), gold.split("\n"), current.split("\n")
    blocks = [
        (old[a:b], new[c:d])
        for a, b, c, d in _line_by_line(difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes())
    ]
    return _match(blocks, now)


def merge_hunks(hunks: Sequence[Hunk], current: str, *, gap: int) -> tuple[Hunk, ...]:
    """Hunks with at most `gap` untouched lines between them as one, so that one edit does them all.

    >>> hunks = [Hunk(line=1, old=("a",), new=("A",)), Hunk(line=3, old=("c",), new=())]
    >>> merge_hunks(hunks, "a\\nb\\nc\\n", gap=1)
    (Hunk(line=1, old=('a', 'b', 'c'), new=('A', 'b')),)
    """
    lines = current.split("\n")
    merged: list[Hunk] = []
    for hunk in hunks:
        end = merged[-1].line + len(merged[-1].old) if merged else 0
        if merged and hunk.line - end <= gap:
            between = tuple(lines[end - 1 : hunk.line - 1])
            last = merged.pop()
            hunk = Hunk(line=last.line, old=last.old + between + hunk.old, new=last.new + between + hunk.new)
        merged.append(hunk)
    return tuple(merged)


def _line_by_line(opcodes: Sequence[tuple[str, int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Opcodes as spans, with replacements of equally many lines split into single lines."""
    spans = []
    for tag, a, b, c, d in opcodes:
        if tag == "replace" and b - a == d - c:
            spans += [(a + i, a + i + 1, c + i, c + i + 1) for i in range(b - a)]
        else:
            spans.append((a, b, c, d))
    return spans


def _match(blocks: list[tuple[list[str], list[str]]], now: list[str]) -> tuple[Hunk, ...] | None:
    """The blocks' old or new lines, one after the other, that make up `now`: new where both would do."""
    tried = set()
    ways: list[tuple[int, int, _Chosen | None]] = [(0, 0, None)]
    while ways:
        index, position, chosen = ways.pop()
        if index == len(blocks):
            if position == len(now):
                return _in_order(chosen)
            continue
        if (index, position) in tried:
            continue
        tried.add((index, position))
        old, new = blocks[index]
        if old != new and now[position : position + len(old)] == old:
            hunk = Hunk(line=position + 1, old=tuple(old), new=tuple(new))
            ways.append((index + 1, position + len(old), (hunk, chosen)))
        if now[position : position + len(new)] == new:
            ways.append((index + 1, position + len(new), chosen))
    return None


def _in_order(chosen: _Chosen | None) -> tuple[Hunk, ...]:
    hunks = []
    while chosen is not None:
        hunk, chosen = chosen
        hunks.append(hunk)
    return tuple(reversed(hunks))
