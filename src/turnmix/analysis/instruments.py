"""The instruments by name: which rollouts each needs, and the tables that it makes of stored analyses.

In: analyses of one run or of several. Out: tables. An instrument that finds nothing of what it needs makes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from turnmix.analysis.accidents import KINDS, accident_tables
from turnmix.analysis.divergence import divergence_of, divergence_tables
from turnmix.analysis.ended_rollouts import ended_rollouts
from turnmix.analysis.failures.tables import failure_tables, seen_failures
from turnmix.analysis.gates import gate_tables
from turnmix.analysis.headroom import headroom_tables
from turnmix.analysis.scaling import scaling_tables
from turnmix.analysis.stored import StoredAnalysis
from turnmix.analysis.table import Table
from turnmix.analysis.teacher_economy import teacher_tables
from turnmix.core.errors import UserError
from turnmix.store.analysis_directory import HEADROOM, OWN, RESAMPLED, RESCUED, SAMPLED, TEACHER

TablesOf = Callable[[Sequence[StoredAnalysis]], list[Table]]
"""Analyses in the order in which they are to be shown, each of which knows its run -> tables over all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One way to look at a student."""

    name: str
    needs: tuple[str, ...]
    """The rollouts that are made for it, such as `own` and `teacher`, in this order."""
    tables_of: TablesOf
    look_at: Callable[[StoredAnalysis], object]
    """Reads all that its tables need of one analysis, which is then remembered."""
    judged: tuple[str, ...] = ()
    """Of these, those whose labels the student judges."""
    takes_evaluations: bool = False
    """Where the run evaluated the checkpoint itself, nothing is rolled out for it: no teacher need be asked."""


def _count_own(analysis: StoredAnalysis) -> None:
    ended_rollouts(analysis, OWN)


def _count_others(analysis: StoredAnalysis) -> None:
    for name in analysis.rollout_names:
        if name not in (TEACHER, SAMPLED):
            ended_rollouts(analysis, name)


FAILURES = "failures"
_ALL = (
    Instrument(
        name="divergence",
        needs=(OWN, TEACHER),
        judged=(OWN, TEACHER),
        tables_of=divergence_tables,
        look_at=divergence_of,
    ),
    Instrument(name="accidents", needs=(OWN, *KINDS), tables_of=accident_tables, look_at=_count_others),
    Instrument(name="headroom", needs=(OWN, HEADROOM), tables_of=headroom_tables, look_at=_count_others),
    Instrument(
        name="gates",
        needs=(OWN, TEACHER, RESAMPLED, RESCUED),
        judged=(OWN, TEACHER),
        tables_of=gate_tables,
        look_at=divergence_of,
    ),
    Instrument(
        name=FAILURES, needs=(OWN,), takes_evaluations=True, tables_of=failure_tables, look_at=seen_failures
    ),
    Instrument(name="teacher", needs=(), tables_of=teacher_tables, look_at=_count_own),
    Instrument(name="scaling", needs=(), tables_of=scaling_tables, look_at=divergence_of),
)
INSTRUMENTS: Mapping[str, Instrument] = {each.name: each for each in _ALL}
"""In the order in which their tables are shown."""


def find_instrument(name: str) -> Instrument:
    """Raises UserError: there is none of this name."""
    if name not in INSTRUMENTS:
        raise UserError(f"instruments: {name!r}: there is none: choose from {', '.join(INSTRUMENTS)}")
    return INSTRUMENTS[name]


def tables_of(analyses: Sequence[StoredAnalysis], instruments: Sequence[str] | None = None) -> list[Table]:
    """The tables of these instruments; None: of all. Raises UserError: something that is read is damaged."""
    names = INSTRUMENTS if instruments is None else instruments
    look_at(analyses, names)
    return [table for name in names for table in find_instrument(name).tables_of(analyses)]


def look_at(analyses: Iterable[StoredAnalysis], instruments: Iterable[str] = INSTRUMENTS) -> None:
    """Read all that these instruments need, one analysis after another: each trajectory is read once, and not once an
    instrument. Raises UserError: something that is read is damaged."""
    found = [find_instrument(name) for name in instruments]
    for analysis in analyses:
        for instrument in found:
            instrument.look_at(analysis)
