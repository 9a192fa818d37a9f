"""The failure modes of students acting alone, with counts, and how well rules and judge agree with a reader (Table 4).

In: analyses, with the student's own trajectories. Out: a table of modes, and one of Cohen's κ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from turnmix.analysis.failures.cohen_kappa import ENOUGH, Kappa
from turnmix.analysis.failures.findings import (
    Findings,
    ModeFinder,
    findings_of,
    kappa_of_rules,
    kappa_with_judge,
)
from turnmix.analysis.failures.labelled_set import labelled_set
from turnmix.analysis.failures.modes import JUDGED, FailureMode
from turnmix.analysis.failures.records import FailureRecords
from turnmix.analysis.stored import StoredAnalysis, checkpoint_titles
from turnmix.analysis.table import Cell, Column, Share, Table

OWN = "own"
_HOW = (
    "One primary mode for each unresolved trajectory of the student alone. Rules come first, in the order that "
    "docs/see-what-a-run-shows.md gives; shares are of the unresolved."
)
_NO_JUDGE = (
    "No rule decides where an agent finished with a change in the right place of which no fault is seen: those are not "
    "judged. A model can judge them: --judge."
)


def failure_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """None where no student was looked at alone. Raises UserError: something stored is damaged."""
    titles, found, finders = [], [], []
    for analysis, title in zip(analyses, checkpoint_titles(analyses), strict=True):
        records = FailureRecords(analysis.path)
        finder = ModeFinder(records.judge(), records.answers())
        if trajectories := analysis.rollouts(OWN):
            titles.append(title)
            found.append(findings_of(trajectories, records.outlines(), finder))
            finders.append(finder)
    if not found:
        return []
    finder = next((each for each in finders if each.judge is not None), finders[0])
    trust = _Trust(finder)
    return [_modes(titles, found, [*trust.notes, *_costs(finders)]), trust.table()]


def _modes(titles: Sequence[str], found: Sequence[Findings], notes: Sequence[str]) -> Table:
    def row(name: str, share: Callable[[Findings], Share]) -> tuple[Cell, ...]:
        return (name, *map(share, found))

    def of_unresolved(count: Callable[[Findings], int]) -> Callable[[Findings], Share]:
        return lambda each: Share(count=count(each), of=each.num_unresolved)

    def of_mode(mode: FailureMode) -> Callable[[Findings], Share]:
        return of_unresolved(lambda each: each.modes.get(mode, 0))

    rows = [
        row("unresolved, of all judged", lambda each: Share(count=each.num_unresolved, of=each.num_judged))
    ]
    rows += [row(mode.value, of_mode(mode)) for mode in FailureMode]
    rows += [row("not judged", of_unresolved(lambda each: each.num_not_judged))]
    told = [_HOW]
    if unreadable := sum(each.num_unreadable for each in found):
        told.append(f"Not judged: {unreadable} for an answer of the judge's that names no mode.")
    if errors := sum(each.num_infra_errors for each in found):
        told.append(f"{errors} infra errors are left out.")
    return Table(
        name="failures",
        title="Failure modes of unresolved trajectories",
        columns=(Column(title="mode"), *(Column(title=title, unit="share") for title in titles)),
        rows=tuple(rows),
        notes=(*told, *notes),
    )


class _Trust:
    """Rules, and rules with a judge, against the labelled set."""

    def __init__(self, finder: ModeFinder) -> None:
        self._has_judge = finder.judge is not None
        labelled = labelled_set()
        held_out = [each for each in labelled if each.is_held_out]
        self._rows: list[tuple[str, int, Kappa]] = [
            ("rules, all", len(labelled), kappa_of_rules(labelled)),
            ("rules, held out", len(held_out), kappa_of_rules(held_out)),
        ]
        if self._has_judge:
            self._rows += [
                ("rules and judge, all", len(labelled), kappa_with_judge(labelled, finder)),
                ("rules and judge, held out", len(held_out), kappa_with_judge(held_out, finder)),
            ]

    @property
    def notes(self) -> list[str]:
        """What may be said on the strength of it."""
        name, _, kappa = self._rows[-1]
        shown = "not defined" if kappa.value is None else f"{kappa.value:.2f}"
        told = f"Agreement with a reader ({name}, {kappa.n} trajectories): Cohen's κ {shown}"
        claim = "." if kappa.is_enough else f", below {ENOUGH}: no claim is made on these modes."
        return [told + claim, *([] if self._has_judge else [_NO_JUDGE])]

    def table(self) -> Table:
        return Table(
            name="failure_agreement",
            title="Agreement on failure modes with a reader of the shipped labelled set",
            columns=(
                Column(title="who"),
                Column(title="given a mode", unit="share"),
                Column(title="the reader's mode", unit="share"),
                Column(title="Cohen's κ"),
            ),
            rows=tuple(
                (name, Share(count=kappa.n, of=of), Share(count=kappa.equal, of=kappa.n), kappa.value)
                for name, of, kappa in self._rows
            ),
            notes=(
                f"One reader labelled {self._rows[0][1]} trajectories before the rules were written; no rule was "
                "changed because of those held out. For the rules alone, "
                + ", ".join(mode.value for mode in JUDGED)
                + " are one answer, left to a judge.",
            ),
        )


def _costs(finders: Sequence[ModeFinder]) -> list[str]:
    told = []
    for judge in dict.fromkeys(each.judge for each in finders if each.judge is not None):
        used = [each.usage for each in finders if each.judge == judge]
        told.append(
            f"The judge {judge.model} took {sum(each.requests for each in used):,} requests, "
            f"{sum(each.input_tokens for each in used):,} tokens in and "
            f"{sum(each.output_tokens for each in used):,} out, for these and for the labelled set."
        )
    return told
