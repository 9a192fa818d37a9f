"""What runs come to, compared: of a sweep by its comparison file, or of runs that are named, paired by task.

In: directories. Out: a `Compared`, all of it computed anew from what is stored: nothing is rolled out, and nothing that
a recipe names is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.analysis.compared import ComparedOutcome, compared_outcome
from turnmix.analysis.comparison_tables import outcome_table
from turnmix.analysis.outcomes import OUTCOMES, ByTask, by_task, measured, resolved_by_task
from turnmix.analysis.stored import StoredAnalysis, stored_analyses
from turnmix.analysis.table import Table
from turnmix.core.errors import UserError
from turnmix.running.comparison_file import ComparisonSettings, comparison_in
from turnmix.running.deciding import Decision, decided
from turnmix.running.reading import Run
from turnmix.running.sweep_arms import run_name
from turnmix.store.place import RECIPE
from turnmix.store.sweep_directory import read_sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison of arms, as far as their runs are complete."""

    name: str
    heading: Sequence[str]
    """Sentences: which comparison, when it was fixed, what is missing."""
    outcomes: Sequence[ComparedOutcome]
    decision: Decision | None
    record: Mapping[str, Any] | None
    """`comparison.json` of a sweep; None: of runs that were named."""

    def tables(self) -> list[Table]:
        tables = [outcome_table(each) for each in self.outcomes]
        return tables if self.decision is None else [*tables, self.decision.table()]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "comparison": None if self.record is None else dict(self.record),
            "heading": list(self.heading),
            "outcomes": [each.to_json() for each in self.outcomes],
            "decision": None if self.decision is None else self.decision.to_json(),
        }


def compare_sweep(path: Path) -> Compared:
    """The sweep in a directory. Raises UserError: it is damaged, or no run of it is complete."""
    comparison, record = comparison_in(path), read_sweep(path)
    found: dict[str, dict[str, dict[int, ByTask]]] = {
        outcome: {arm: {} for arm in comparison.arms} for outcome in comparison.outcomes
    }
    missing: list[str] = []
    num_missing_in_decision = 0
    for arm in comparison.arms:
        for seed in comparison.seeds:
            parts = _parts_of(path / run_name(arm, seed), comparison)
            if parts is None:
                missing.append(run_name(arm, seed))
                is_decisive = comparison.decision is not None and arm in comparison.decision.arms
                num_missing_in_decision += is_decisive
                continue
            for outcome, part in parts.items():
                found[outcome][arm][seed] = part
    number = len(comparison.arms) * len(comparison.seeds)
    if len(missing) == number:
        raise UserError(f"{path}: none of its {number} runs is complete yet: `turnmix sweep` goes on with it")
    arms = {
        outcome: {arm: measured(arm, OUTCOMES[outcome].unit, by_seed) for arm, by_seed in by_arm.items()}
        for outcome, by_arm in found.items()
    }
    outcomes = {
        name: compared_outcome(name, each, reference=comparison.reference_arm) for name, each in arms.items()
    }
    decision = None
    if comparison.decision is not None:
        decision = decided(comparison.decision, outcomes, arms, num_missing=num_missing_in_decision)
    return Compared(
        name=comparison.name,
        heading=_heading(record, comparison, missing),
        outcomes=[*outcomes.values()],
        decision=decision,
        record=record,
    )


def _heading(record: Mapping[str, Any], comparison: ComparisonSettings, missing: Sequence[str]) -> list[str]:
    commit = record["commit"]
    number = len(comparison.arms) * len(comparison.seeds)
    seeds = "1 seed" if len(comparison.seeds) == 1 else f"{len(comparison.seeds)} seeds"
    arms = f"{len(comparison.arms)} arms × {seeds}"
    lines = [
        f"{record['name']}: {arms}, fixed {record['fixed']}",
        f"sha256 {record['digest']}",
        "not committed when it was fixed"
        if commit is None
        else f"committed {commit['time']} as {commit['id']}",
    ]
    if missing:
        shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        lines.append(f"{len(missing)} of {number} runs are not complete: {shown}")
    return lines


def _parts_of(run: Path, comparison: ComparisonSettings) -> dict[str, ByTask] | None:
    """What a run of a sweep came to, by outcome; None: it is not complete."""
    if not (run / RECIPE).is_file() or not Run(run).is_complete:
        return None
    if comparison.analysis is None or "divergence" not in comparison.analysis.instruments:
        parts = {"resolved": evaluated(run)}
    else:
        parts = {}
    others = [name for name in comparison.outcomes if name not in parts]
    if others:
        wanted = comparison.analysis.checkpoints if comparison.analysis is not None else "last"
        iteration = max(wanted) if isinstance(wanted, tuple) else Run(run).recipe.iterations
        if (analysis := analysis_of(run, iteration, others)) is None:
            return None
        parts |= by_task(others, analysis)
    return {name: part for name, part in parts.items() if name in comparison.outcomes}


def analysis_of(run: Path, iteration: int, outcomes: Sequence[str]) -> StoredAnalysis | None:
    """That of a checkpoint, if it has all that these outcomes need."""
    found = next((each for each in stored_analyses(run) if each.iteration == iteration), None)
    is_whole = found is not None and all(found.is_whole(OUTCOMES[name].rollout) for name in outcomes)
    return found if is_whole else None


def evaluated(run: Path) -> ByTask:
    """By the run's own evaluations: of its last iteration, or of an evaluation's directory."""
    found = Run(run)
    return resolved_by_task(found.evaluations(None if found.is_evaluation else found.recipe.iterations))
