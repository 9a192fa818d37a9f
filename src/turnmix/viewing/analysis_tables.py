"""A table of an analysis as a person reads it, on a terminal and in a report.

In: a `Table`, whose texts anybody may have written. Out: rich tables, at most `width` columns wide: a table
that is wider is shown without the intervals of its shares, then in parts below each other, each with the first column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    texts = _texts(table, has_intervals=True)
    if sum(_widths(table, texts)) + _GAP * (len(table.columns) - 1) > width:
        texts = _texts(table, has_intervals=False)
    widths = _widths(table, texts)
    return [
        # Where all fits, titles are folded; rich by itself would fold cells before.
        _rich_table(table, texts, places, widths if _total(widths, places) <= width else None)
        for places in _parts(widths, width)
    ]


def print_table(console: Console, table: Table) -> None:
    """Title, tables and notes; a blank line behind each table."""
    console.print(Text(printable_line(table.title), style="bold"))
    if not table.rows:
        console.print(Text("nothing to show"))
    for part in rich_tables(table, width=console.width) if table.rows else ():
        console.print(part)
        console.print()
    for note in table.notes:
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
    columns = [
        texts if _is_text(table, place) else _aligned(texts) for place, texts in enumerate(zip(*named))
    ]
    return [list(row) for row in zip(*columns)]


def _is_text(table: Table, place: int) -> bool:
    return place == 0 or all(isinstance(row[place], str) for row in table.rows)


def _aligned(texts: Sequence[str]) -> Sequence[str]:
    """Figures end below each other, with their intervals behind them, whatever the intervals' lengths.

    >>> _aligned(["1 % [0, 5]", "28 % [20, 37]", "3 %"])
    [' 1 % [0, 5]', '28 % [20, 37]', ' 3 %']
    """
    parted = [text.partition(" [") for text in texts]
    before = max(cell_len(figure) for figure, _, _ in parted)
    return [
        " " * (before - cell_len(figure)) + figure + bracket + interval
        for figure, bracket, interval in parted
    ]


def _widths(table: Table, texts: Sequence[Sequence[str]]) -> list[int]:
    """Of each column: a title is folded between its words, a cell is not."""
    return [
        max(
            *(cell_len(word) for word in heading(column).split() or [""]),
            *(cell_len(row[place]) for row in texts),
            1,
        )
        for place, column in enumerate(table.columns)
    ]


def _total(widths: Sequence[int], places: Sequence[int]) -> int:
    return sum(widths[place] for place in places) + _GAP * (len(places) - 1)


def _parts(widths: Sequence[int], width: int) -> Iterator[list[int]]:
    """Places of columns that fit beside each other, the first among them."""
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
    shown = RichTable(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for place in places:
        # Figures are aligned already, by where their intervals begin.
        title = Text(heading(table.columns[place]), justify="left" if _is_text(table, place) else "right")
        shown.add_column(title, overflow="fold", width=None if widths is None else widths[place])
    for row in texts:
        shown.add_row(*(Text(row[place]) for place in places))
    return shown
