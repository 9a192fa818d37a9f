"""The instruments by name: which rollouts each needs, and the tables that it makes of stored analyses.

In: analyses of one run or of several. Out: tables. An instrument that finds nothing of what it needs makes none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from turnmix.analysis.stored import StoredAnalysis
from turnmix.analysis.table import Table
from turnmix.core.errors import UserError

TablesOf = Callable[[Sequence[StoredAnalysis]], list[Table]]
"""Analyses in the order in which they are to be shown, each of which knows its run -> tables over all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One way to look at a student."""

    name: str
    needs: tuple[str, ...]
    """The rollouts that are made for it, such as `own` and `teacher`, in this order."""
    tables_of: TablesOf
    is_scored: bool = False
    """Must the student judge the labels of these rollouts?"""


INSTRUMENTS: Mapping[str, Instrument] = {}
"""In the order in which their tables are shown."""


def find_instrument(name: str) -> Instrument:
    """Raises UserError: there is none of this name."""
    if name not in INSTRUMENTS:
        raise UserError(f"instruments: {name!r}: there is none: choose from {', '.join(INSTRUMENTS)}")
    return INSTRUMENTS[name]


def tables_of(analyses: Sequence[StoredAnalysis], instruments: Sequence[str] | None = None) -> list[Table]:
    """The tables of these instruments; None: of all. Raises UserError: something that is read is damaged."""
    names = INSTRUMENTS if instruments is None else instruments
    return [table for name in names for table in find_instrument(name).tables_of(analyses)]
