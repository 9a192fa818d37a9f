"""A run, or an evaluation, as a report tells of it.

In: its directory, which may be somebody else's or being written. Out: its figures, what was run, and its trajectories
by sets, read when they are asked for. Nothing that its recipe names is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnmix.analysis.ended_rollouts import ended_rollouts, resolved_share
from turnmix.analysis.failures.modes import FailureMode
from turnmix.analysis.failures.tables import failure_modes
from turnmix.analysis.instruments import look_at
from turnmix.analysis.outcomes import OUTCOMES, by_task
from turnmix.analysis.stored import StoredAnalysis, stored_analyses
from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.core.yaml_text import yaml_value
from turnmix.store.analysis_directory import OWN, SAMPLED, TEACHER, rollouts_path, teacher_path
from turnmix.store.append_log import TrajectoryLog
from turnmix.store.evaluation_directory import RESULTS
from turnmix.store.lock import is_locked
from turnmix.store.made_here import is_made_here
from turnmix.store.place import resume_command
from turnmix.store.record_files import read_evaluation, read_results, read_summary, read_versions
from turnmix.store.run_directory import EVALUATION, SUMMARY, RunDirectory
from turnmix.store.versions import VERSIONS

ROLLOUTS = "rollout"
EVALUATIONS = "evaluation"
_ANALYSED = {
    OWN: "own states",
    "breaking": "breaking accident",
    "harmless": "harmless accident",
    SAMPLED: "own states, sampled",
    TEACHER: "teacher alone",
}
"""What an analysis rolls out, as a reader is told of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectorySet:
    """Trajectories that were rolled out alike."""

    name: str
    log: TrajectoryLog
    modes: Mapping[str, FailureMode | None] = field(default_factory=dict)
    """How those that are unresolved failed, by id, where a student's analysis tells it; None: nothing decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRun:
    name: str
    """Told apart from the other runs of the report by it."""
    path: Path
    is_mine: bool
    """This user made it on this machine: its figures are what TurnMix wrote."""
    state: str
    recipe: Mapping[str, Any]
    versions: Mapping[str, Any]
    summary: Mapping[str, Any] | None
    """None: an evaluation, or no stage has finished."""
    subject: Mapping[str, Any] | None
    """Of an evaluation: which student."""
    results: Mapping[str, Any] | None
    """Of an evaluation that is complete."""
    losses: tuple[tuple[float | None, ...], ...]
    """Of each optimiser step, by iteration."""
    sets: tuple[TrajectorySet, ...]
    analyses: tuple[StoredAnalysis, ...]
    """In the order of iterations."""

    def evaluated(self) -> list[tuple[int, Mapping[str, Any]]]:
        """The figures of its evaluations on holdout tasks, by iteration; 0: the base student."""
        if self.summary is None:
            return []
        base = self.summary["base"]
        found = [] if base is None else [(0, base)]
        rows = self.summary["iterations"]
        return found + [(row["iteration"], row["eval"]) for row in rows if row["eval"] is not None]

    def analysed(self) -> list[tuple[int, Mapping[str, Any]]]:
        """What the student alone resolves by its whole analyses, as `evaluated` tells it."""
        return [
            (each.iteration, {"resolved": share.count, "n": share.of})
            for each in self.analyses
            if each.is_whole(OWN) and (share := resolved_share(ended_rollouts(each, OWN))).of
        ]

    def setting(self, name: str) -> Any:
        """What the recipe says under a dotted name; None: it says nothing, or is damaged."""
        value: Any = self.recipe
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value


def read_runs(paths: list[Path]) -> list[ReportedRun]:
    """Raises UserError: one of them holds no run, or something in it is damaged."""
    return [read_reported_run(path, name) for path, name in zip(paths, told_apart(paths))]


def read_reported_run(path: Path, name: str) -> ReportedRun:
    with closing(RunDirectory.read(path)) as run:
        is_evaluation = (path / EVALUATION).is_file()
        summary = results = subject = None
        analyses = stored_analyses(path)
        # Now, while its trajectories are at hand: of many runs not all of them are held at once.
        look_at(analyses)
        for analysis in analyses:
            whole = [name for name, each in OUTCOMES.items() if analysis.is_whole(each.rollout)]
            by_task(whole, analysis)
        state = "being written" if is_locked(path) else "not complete"
        if is_evaluation:
            subject = read_evaluation(path / EVALUATION, fix="evaluate it again, in another directory")
            results = read_results(path / RESULTS) if (path / RESULTS).is_file() else None
            state = "complete" if results is not None else state
        elif (path / SUMMARY).is_file():
            fix = f"delete it, and go on with: {resume_command(path)}"
            summary = read_summary(path / SUMMARY, fix=fix)
            state = "complete" if summary["is_complete"] else state
        return ReportedRun(
            name=name,
            path=path,
            is_mine=is_made_here(run.recipe_path),
            state=state,
            recipe=_recipe(run.recipe_path),
            versions=read_versions(path / VERSIONS) if (path / VERSIONS).is_file() else {},
            summary=summary,
            subject=subject,
            results=results,
            losses=tuple(_losses(run)),
            sets=tuple(
                each
                for each in (
                    TrajectorySet(name=EVALUATIONS, log=run.evaluations),
                    *_analysed(path, analyses),
                    TrajectorySet(name=ROLLOUTS, log=run.trajectories),
                )
                if len(each.log)
            ),
            analyses=tuple(analyses),
        )


def told_apart(paths: list[Path]) -> list[str]:
    """The directories' last names; of equal ones as much of the paths as tells them apart.

    >>> told_apart([Path("runs/a"), Path("runs/b")]), told_apart([Path("x/run"), Path("y/run")])
    (['a', 'b'], ['x/run', 'y/run'])
    """
    full = [path.absolute() for path in paths]
    for length in range(1, max((len(path.parts) for path in full), default=0) + 1):
        names = ["/".join(path.parts[-length:]) for path in full]
        if len(set(names)) == len(set(full)):
            return names
    return [str(path) for path in full]


def _analysed(path: Path, analyses: Sequence[StoredAnalysis]) -> Iterator[TrajectorySet]:
    """What was rolled out for analyses, the last checkpoint's first; the teacher's own trajectories once."""
    for name in _in_order({name for each in analyses for name in each.rollout_names}):
        title = _ANALYSED.get(name, printable_line(name.replace("-", ": ", 1)))
        for each in analyses[::-1]:
            folder = teacher_path(path) if name == TEACHER else each.path
            modes = failure_modes(each) if name == OWN else {}
            if name in each.rollout_names:
                log = TrajectoryLog(rollouts_path(folder, name), is_writable=False)
                yield TrajectorySet(name=title, log=log, modes=modes)
            if name == TEACHER:
                break


def _in_order(names: Iterable[str]) -> list[str]:
    known = [*_ANALYSED]
    return sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))


def _losses(run: RunDirectory) -> Iterator[tuple[float | None, ...]]:
    for iteration in range(1, run.last_trained() + 1):
        figures = run.stage_metrics("train", iteration) or {}
        yield tuple(figures.get("step_losses", ()))


def _recipe(path: Path) -> Mapping[str, Any]:
    try:
        recipe = yaml_value(read_bounded(path, most=MEBIBYTE).decode())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): put it back") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path} holds no recipe: put it back")
    return recipe
