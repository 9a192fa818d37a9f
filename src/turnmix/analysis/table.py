"""A table of figures: what every analysis comes to, and what terminal, page and file show.

In: cells as numbers, with their counts. Out: the same as JSON. What was not computed is None, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many of so many. A share is never shown without its counts."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """None: of none."""
        return self.count / self.of if self.of else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float | None
    """None, as `high`: there is no interval."""
    high: float | None


Cell = str | int | float | Share | Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What stands below one title."""

    title: str
    unit: Literal[
        "", "share", "nats per token", "nats per turn", "tokens", "seconds", "points", "dollars"
    ] = ""
    """`share`: from 0 to 1, shown in per cent. `points`: a difference of shares, from -1 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells below titles, the first column naming the row."""

    name: str
    """Of its kind, such as `divergence`: for files and links."""
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    """Sentences: how it is meant, what was left out."""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "columns": [{"title": column.title, "unit": column.unit} for column in self.columns],
            "rows": [[_cell_json(cell) for cell in row] for row in self.rows],
            "notes": list(self.notes),
        }


def _cell_json(cell: Cell) -> Any:
    if isinstance(cell, Share):
        return {"count": cell.count, "of": cell.of}
    if isinstance(cell, Estimate):
        return {"value": cell.value, "low": cell.low, "high": cell.high}
    return cell
