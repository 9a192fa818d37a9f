"""The failure modes of students acting alone, with counts, and how well rules and judge agree with a reader (Table 4).

In: analyses, with the student's own trajectories. Out: a table of modes, and one of Cohen's κ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from turnmix.analysis.failures.cohen_kappa import ENOUGH, Kappa
from turnmix.analysis.failures.findings import (
    Findings,
    ModeFinder,
    findings_of,
    kappa_of_rules,
    kappa_with_judge,
    unresolved_of,
)
from turnmix.analysis.failures.labelled_set import HandLabelled, labelled_set
from turnmix.analysis.failures.modes import JUDGED, FailureMode
from turnmix.analysis.failures.records import FailureRecords
from turnmix.analysis.failures.rules import mode_by_rule
from turnmix.analysis.remembered import remembered
from turnmix.analysis.stored import StoredAnalysis, checkpoint_titles
from turnmix.analysis.table import Cell, Column, Share, Table
from turnmix.core.trajectory import Trajectory
from turnmix.store.analysis_directory import OWN
from turnmix.store.run_directory import RunDirectory

_HOW = (
    "One primary mode for each unresolved trajectory of the student alone. Rules come first, in the order that "
    "docs/see-what-a-run-shows.md gives; shares are of the unresolved."
)
_NO_OUTLINES = "Where the tasks are solved is not known here, so that no rule finds a wrong file."
_NO_JUDGE = (
    "No rule decides where an agent finished with a change in the right place of which no fault is seen: those are not "
    "judged. A model can judge them: --judge."
)


def failure_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """None where no student was looked at alone. Raises UserError: something stored is damaged."""
    titles, found, finders = [], [], []
    knows_solutions = True
    for analysis, title in zip(analyses, checkpoint_titles(analyses), strict=True):
        seen = seen_failures(analysis)
        if seen.findings.num_trajectories:
            titles.append(title)
            knows_solutions = knows_solutions and seen.knows_solutions
            found.append(seen.findings)
            finders.append(seen.finder.copy())
    if not found:
        return []
    finder = next((each for each in finders if each.judge is not None), finders[0])
    trust = _Trust(finder)
    told = [] if knows_solutions else [_NO_OUTLINES]
    return [_modes(titles, found, [*told, *trust.notes, *_costs(finders)]), trust.table()]


def failure_modes(analysis: StoredAnalysis) -> dict[str, FailureMode | None]:
    """Of each unresolved trajectory of the student alone, by its id; None: not judged.

    Raises:
        UserError: something stored is damaged.
    """
    return dict(seen_failures(analysis).modes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFailures:
    """What is found of one analysis."""

    findings: Findings
    modes: dict[str, FailureMode | None]
    finder: ModeFinder
    knows_solutions: bool


@remembered
def seen_failures(analysis: StoredAnalysis) -> SeenFailures:
    """Raises UserError: something stored is damaged."""
    records = FailureRecords(analysis.path)
    finder = ModeFinder(records.judge(), records.answers())
    trajectories, outlines = own_trajectories(analysis), records.outlines()
    unresolved = unresolved_of(trajectories, outlines)
    return SeenFailures(
        findings=findings_of(trajectories, outlines, finder),
        modes={each.trajectory.id: finder.find(each).mode for each in unresolved},
        finder=finder,
        knows_solutions=bool(outlines),
    )


def own_trajectories(analysis: StoredAnalysis) -> list[Trajectory]:
    """Of the student alone: those of the analysis, or else of the run's own evaluation of this checkpoint."""
    if trajectories := analysis.rollouts(OWN):
        return trajectories
    with closing(RunDirectory.read(analysis.run)) as run:
        return list(run.evaluations.read(run.evaluations.ids_of(f"e{analysis.iteration:03d}")))


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


def _claim(who: str, kappa: Kappa) -> str:
    """What may be said of the modes that they name."""
    told = f"Agreement of {who} with a reader, on {kappa.n} trajectories that they were not written for: Cohen's κ "
    if kappa.value is None:
        return f"{told}is not defined: no claim is made on modes by {who}."
    claim = "" if kappa.is_enough else f", below {ENOUGH}: no claim is made on modes by {who}"
    return f"{told}{kappa.value:.2f}{claim}."


class _Trust:
    """Rules, and rules with a judge, against the labelled set."""

    def __init__(self, finder: ModeFinder) -> None:
        self._has_judge = finder.judge is not None
        labelled = labelled_set()
        held_out = [each for each in labelled if each.is_held_out]
        self._rows: list[tuple[str, Share, Kappa]] = [
            ("rules, all", _decided(labelled), kappa_of_rules(labelled)),
            ("rules, held out", _decided(held_out), kappa_of_rules(held_out)),
        ]
        if self._has_judge:
            left = [each for each in labelled if mode_by_rule(each.unresolved) is None]
            for name, each in (("rules and judge, all", labelled), ("judge, of what rules leave", left)):
                kappa = kappa_with_judge(each, finder)
                self._rows.append((name, Share(count=kappa.n, of=len(each)), kappa))

    @property
    def notes(self) -> list[str]:
        """What may be said on the strength of it. A good κ of the rules must not stand for a poor judge."""
        told = [_claim("the rules", self._rows[1][2])]
        return [*told, _claim("the judge", self._rows[-1][2]) if self._has_judge else _NO_JUDGE]

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
                (name, given, Share(count=kappa.equal, of=kappa.n), kappa.value)
                for name, given, kappa in self._rows
            ),
            notes=(
                f"One reader labelled {self._rows[0][1].of} trajectories before the rules were written; no rule was "
                "changed because of those held out. For the rules alone, "
                + ", ".join(mode.value for mode in JUDGED)
                + " are one answer, left to a judge.",
            ),
        )


def _decided(labelled: Sequence[HandLabelled]) -> Share:
    """By the rules alone."""
    return Share(count=sum(mode_by_rule(each.unresolved) is not None for each in labelled), of=len(labelled))


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
