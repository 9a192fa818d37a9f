"""A table of an analysis as a person reads it, on a terminal and in a report.

In: a `Table`, whose texts anybody may have written. Out: rich tables, at most `width` columns wide: a table
that is wider is shown without the intervals of its shares, or in parts below each other, each with the first column.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from turnmix.analysis.table import Cell, Column, Estimate, Share, Table
from turnmix.core.printable import printable_line
from turnmix.evaluation.interval import wilson
from turnmix.viewing.report import DASH
from turnmix.viewing.trajectory_choice import shortened

WIDTH = 80
_GAP = 2
_LONGEST_NAME = 32
"""Of what names a row."""
_SHOWN_UNITS = ("nats per token", "nats per turn", "seconds", "points", "dollars")
"""Those that a cell does not show itself."""
_FIGURES = re.compile(r"[<+–-]? ?[.\d][\d.,/%–\- ]*|\d+ seeds?|\d+ of \d+")
"""Texts that are figures, such as `.034`, `5/10 50.0 %` and `3 of 4`."""


def cell_text(cell: Cell, column: Column, *, has_intervals: bool = True) -> str:
    """One cell, on one line. A share is never without its counts.

    >>> cell_text(Share(count=28, of=100), Column(title="resolved", unit="share"))
    '28/100   28 % [20, 37]'
    >>> cell_text(Share(count=28, of=100), Column(title="resolved", unit="share"), has_intervals=False)
    '28/100   28 %'
    >>> cell_text(Estimate(value=0.34, low=0.281, high=0.4), Column(title="NLL", unit="nats per token"))
    '0.340 [0.281, 0.400]'
    >>> cell_text(Estimate(value=-0.01, low=-0.045, high=0.025), Column(title="difference", unit="points"))
    '-1.0 [-4.5, +2.5]'
    >>> cell_text(None, Column(title="dollars", unit="dollars")), cell_text(41_984, Column(title="labels"))
    ('–', '41,984')
    """
    if cell is None:
        return DASH
    if isinstance(cell, str):
        return printable_line(cell)
    if isinstance(cell, Share):
        return _share_text(cell, has_intervals=has_intervals)
    if isinstance(cell, Estimate):
        told = _number(cell.value, column) + (" %" if column.unit == "share" else "")
        if cell.low is None or cell.high is None:
            return told
        return f"{told} [{_number(cell.low, column)}, {_number(cell.high, column)}]"
    return _number(cell, column) + (" %" if column.unit == "share" else "")


def heading(column: Column, *, within: str = "") -> str:
    """Its title, and its unit where no cell shows it and neither the title nor `within`, the table's, names it."""
    title = printable_line(column.title)
    is_told = column.unit not in _SHOWN_UNITS or column.unit in column.title + within
    return title if is_told else f"{title} ({column.unit})"


def rich_tables(table: Table, *, width: int = WIDTH) -> list[RichTable]:
    """The table; more than one where its columns do not fit beside each other."""
    in_full, in_short = (_texts(table, has_intervals=has_intervals) for has_intervals in (True, False))
    parts_in_full, parts_in_short = (_parts(_widths(table, texts), width) for texts in (in_full, in_short))
    are_intervals_free = len(parts_in_full) <= len(parts_in_short)
    texts, parts = (in_full, parts_in_full) if are_intervals_free else (in_short, parts_in_short)
    widths = _widths(table, texts)
    return [_rich_table(table, texts, places, _unfolded(table, widths, places, width)) for places in parts]


def print_tables(console: Console, tables: Sequence[Table]) -> None:
    """Each with its title and notes; what several of them note is said once, behind the last."""
    counted = Counter(note for table in tables for note in dict.fromkeys(table.notes))
    for table in tables:
        print_table(console, replace(table, notes=tuple(note for note in table.notes if counted[note] == 1)))
        console.print()
    for note, times in counted.items():
        if times > 1:
            _print_note(console, note)


def print_table(console: Console, table: Table) -> None:
    """Title, tables and notes; a blank line behind each table."""
    console.print(Text(printable_line(table.title), style="bold"))
    if not table.rows and not table.notes:
        console.print(Text("nothing to show"))
    for place, part in enumerate(rich_tables(table, width=console.width) if table.rows else ()):
        if place:
            console.print()
        console.print(part)
    if table.rows and table.notes:
        console.print()
    for note in table.notes:
        _print_note(console, note)


def _print_note(console: Console, note: str) -> None:
    console.print(Text(printable_line(note)))


def _share_text(share: Share, *, has_intervals: bool) -> str:
    counts = f"{share.count:,}/{share.of:,}"
    if share.value is None:
        return counts
    told = f"{counts}  {100 * share.value:3.0f} %"
    if not has_intervals:
        return told
    low, high = wilson(share.count, share.of)
    return f"{told} [{100 * low:.0f}, {100 * high:.0f}]"


def _number(value: float, column: Column) -> str:
    if column.unit == "share":
        return f"{100 * value:.0f}"
    if column.unit == "points":
        return f"{100 * value:+.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if column.unit == "":
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    digits = {"nats per token": 3, "nats per turn": 3, "tokens": 0, "seconds": 1, "dollars": 4}
    return f"{value:,.{digits[column.unit]}f}"


def _texts(table: Table, *, has_intervals: bool) -> list[list[str]]:
    rows = [
        [cell_text(cell, column, has_intervals=has_intervals) for cell, column in zip(row, table.columns)]
        for row in table.rows
    ]
    named = [[shortened(row[0], _LONGEST_NAME), *row[1:]] for row in rows]
    columns = [texts if is_text(table, place) else _aligned(texts) for place, texts in enumerate(zip(*named))]
    return [list(row) for row in zip(*columns)]


def is_text(table: Table, place: int) -> bool:
    """Is it read from the left? Names and words are; figures are not, however they are written."""
    cells = [row[place] for row in table.rows]
    return place == 0 or any(isinstance(cell, str) and not _FIGURES.fullmatch(cell) for cell in cells)


def _aligned(texts: Sequence[str]) -> Sequence[str]:
    """Figures end below each other, with their intervals behind them, whatever the intervals' lengths.

    >>> _aligned(["1 % [0, 5]", "28 % [20, 37]", "3 %"])
    [' 1 % [0, 5]  ', '28 % [20, 37]', ' 3 %         ']
    """
    parted = [text.partition(" [") for text in texts]
    before = max(cell_len(figure) for figure, _, _ in parted)
    behind = max(cell_len(bracket + interval) for _, bracket, interval in parted)
    return [
        " " * (before - cell_len(figure))
        + figure
        + bracket
        + interval
        + " " * (behind - cell_len(bracket + interval))
        for figure, bracket, interval in parted
    ]


def _widths(table: Table, texts: Sequence[Sequence[str]]) -> list[int]:
    """Of each column, the least: a title is folded between its words, a cell is not."""
    return [
        max(_folded_width(_heading(table, place), None), *(cell_len(row[place]) for row in texts), 1)
        for place in range(len(table.columns))
    ]


def _heading(table: Table, place: int) -> str:
    return heading(table.columns[place], within=table.title)


def _unfolded(table: Table, widths: Sequence[int], places: Sequence[int], width: int) -> list[int] | None:
    """Widths at which the titles take as few lines as they can. None: even folded they do not fit."""
    for num_lines in (1, 2, 3, 4, None):
        wide = [max(widths[place], _folded_width(_heading(table, place), num_lines)) for place in places]
        if sum(wide) + _GAP * (len(wide) - 1) <= width:
            return wide
    return None


def _folded_width(text: str, num_lines: int | None) -> int:
    """The least at which it takes so many lines; None: any number.

    >>> [_folded_width("labels per resolved task", num_lines) for num_lines in (1, 2, 3, None)]
    [24, 13, 10, 8]
    """
    words = [cell_len(word) for word in text.split()]
    least = max(words, default=0)
    if num_lines is None:
        return least
    return next(width for width in range(least, cell_len(text) + 1) if _num_lines(words, width) <= num_lines)


def _num_lines(words: Sequence[int], width: int) -> int:
    lines, used = 1, -1
    for word in words:
        if used + 1 + word > width:
            lines, used = lines + 1, -1
        used += 1 + word
    return lines


def _parts(widths: Sequence[int], width: int) -> list[list[int]]:
    """Places of columns that fit beside each other, the first among them: as few parts as can be, and of like widths.

    >>> _parts([10, 20, 20, 5, 20], 60), _parts([10, 5, 20, 5, 20], 40)
    ([[0, 1, 2], [0, 3, 4]], [[0, 1, 2], [0, 3, 4]])
    """
    fewest = list(_filled(widths, width))
    narrower = (list(_filled(widths, limit)) for limit in range(max(widths), width))
    return next((parts for parts in narrower if len(parts) == len(fewest)), fewest)


def _filled(widths: Sequence[int], width: int) -> Iterator[list[int]]:
    part = [0]
    for place in range(1, len(widths)):
        if len(part) > 1 and sum(widths[each] + _GAP for each in part) + widths[place] > width:
            yield part
            part = [0]
        part.append(place)
    yield part


def _rich_table(
    table: Table, texts: Sequence[Sequence[str]], places: Sequence[int], widths: Sequence[int] | None
) -> RichTable:
    """`widths`: of these columns; None: rich folds cells to make them fit."""
    shown = RichTable(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for each, place in enumerate(places):
        title = Text(_heading(table, place), justify="left" if is_text(table, place) else "right")
        shown.add_column(title, overflow="fold", width=None if widths is None else widths[each])
    for row in texts:
        cells = [row[place] for place in places]
        if widths is not None:
            # Not by rich, which would end each figure's interval below the others', not the figure itself.
            cells = [
                cell if is_text(table, place) else " " * (width - cell_len(cell)) + cell
                for cell, place, width in zip(cells, places, widths)
            ]
        shown.add_row(*map(Text, cells))
    return shown
