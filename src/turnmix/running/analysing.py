"""Analyses of a run's checkpoints: each instrument's rollouts and scores are made where they are not there yet.

In: a run, which of its checkpoints, which instruments. Out: the analyses as they are stored, whose tables are made anew
from what lies there. Stopped at any moment, the same call goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from turnmix.analysis.failures.judge_settings import JudgeSettings
from turnmix.analysis.instruments import FAILURES, Instrument, find_instrument
from turnmix.analysis.stored import StoredAnalysis, in_order, stored_analyses, stored_analysis
from turnmix.analysis.teacher_prices import TeacherPrices, keep_prices
from turnmix.assembly.source import check_split, make_source
from turnmix.assembly.student import student_location
from turnmix.core.errors import UserError
from turnmix.core.trajectory import Trajectory
from turnmix.policies.local.model_digest import model_digest
from turnmix.recipe.recipe import Recipe, recipe_yaml
from turnmix.running.analysed_checkpoints import Checkpoints, chosen_iterations, is_evaluated
from turnmix.running.analysed_student import AnalysedStudent, Scores
from turnmix.running.analysing_teacher import AnalysingTeacher
from turnmix.running.analysis_rollouts import AnalysisRollouts, asks_teacher, headroom_name
from turnmix.running.continuation import told_how_to_go_on
from turnmix.running.failure_evidence import keep_failure_evidence
from turnmix.running.given_recipe import GivenRecipe
from turnmix.running.reporter import Reporter
from turnmix.store.analysis_directory import (
    HEADROOM,
    OF_ANALYSIS,
    SAMPLED,
    TEACHER,
    AnalysisDirectory,
    analysis_path,
    rollouts_path,
    teacher_path,
)
from turnmix.store.append_log import AppendLog, TrajectoryLog
from turnmix.store.place import RECIPE
from turnmix.store.run_directory import RunDirectory
from turnmix.store.subject_directory import Evaluated, has_begun
from turnmix.store.versions import when_begun

UNUSED = ("trackers", "tasks.dataset")
"""Settings that an analysis makes no use of."""
DEFAULT = ("divergence",)
"""The instruments where none is named."""
HEADROOM_KINDS = (("edit",),)
"""The sets of kinds of steps where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What is the same for all checkpoints."""

    run: Path
    recipe: Recipe
    moment: datetime | None
    """What templates show as now."""
    rollouts: AnalysisRollouts
    names: Sequence[str]
    """Of the rollouts that are made."""
    judged: Sequence[str]
    """Of those whose labels the student judges."""
    names_failures: bool
    failure_judge: JudgeSettings | None

    def open(
        self, path: Path, *, student: str, weights: str | None, prepare: Callable[[], object]
    ) -> AnalysisDirectory:
        """`prepare`: who cannot do what the recipe asks leaves no directory behind."""
        evaluated = Evaluated(
            student=student,
            weights=weights,
            recipe=str(self.run / RECIPE),
            recipe_yaml=recipe_yaml(self.recipe),
            num_tasks=len(self.rollouts.tasks),
        )
        if not has_begun(path, evaluated, OF_ANALYSIS):
            prepare()
        return AnalysisDirectory.open(path, evaluated, begun=self.moment, run=self.run)


def analyse_run(
    run: Path,
    *,
    checkpoints: Checkpoints = "last",
    instruments: Sequence[str] = DEFAULT,
    num_tasks: int | None = None,
    headroom: Sequence[Sequence[str]] = HEADROOM_KINDS,
    judge: JudgeSettings | None = None,
    prices: TeacherPrices | None = None,
    overrides: Sequence[str] = (),
    reporter: Reporter,
) -> list[StoredAnalysis]:
    """Analyse checkpoints of the run in `run`, or go on with it. `num_tasks`: None: as many as were analysed before, or
    as the recipe evaluates on. `headroom`: for that instrument, the kinds of steps that the expert takes over; each of
    these sets is a rollout. `judge`: who names failure modes where no rule does; None: nobody is asked.
    `prices`: of the teacher's tokens, kept from now on; None: those kept before.

    Raises:
        UserError: it cannot be analysed, or another analysis lies there.
        TurnMixError: it failed; the message says that the same call goes on.
    """
    iterations = chosen_iterations(run, checkpoints)
    with told_how_to_go_on("the same command goes on where this one stopped"):
        work = _begun(
            run,
            iterations,
            instruments=[find_instrument(name) for name in instruments],
            headroom=headroom,
            judge=judge,
            num_tasks=num_tasks,
            overrides=overrides,
            reporter=reporter,
        )
        _announce(work, iterations)
        for iteration in iterations:
            _analyse(work, iteration)
        if prices is not None:
            keep_prices(run, prices)
    return [stored_analysis(run, iteration) for iteration in iterations]


def _begun(
    run: Path,
    iterations: Sequence[int],
    *,
    instruments: Sequence[Instrument],
    headroom: Sequence[Sequence[str]],
    judge: JudgeSettings | None,
    num_tasks: int | None,
    overrides: Sequence[str],
    reporter: Reporter,
) -> _Work:
    recipe = GivenRecipe.of_run(str(run / RECIPE)).load(overrides, unused=UNUSED)
    if num_tasks is None:
        num_tasks = max((each.num_tasks for each in stored_analyses(run)), default=recipe.evaluation.tasks)
    if num_tasks < 1:
        raise UserError(f"tasks: {num_tasks}: nothing is analysed: say on how many with --tasks, such as 200")
    evaluation = recipe.evaluation.model_copy(update={"tasks": num_tasks})
    recipe = recipe.model_copy(update={"evaluation": evaluation})
    source, moment = make_source(recipe), when_begun(run)
    check_split(recipe, source, "holdout")
    rollouts = AnalysisRollouts(
        recipe=recipe,
        source=source,
        tasks=source.tasks("holdout")[:num_tasks],
        teacher=AnalysingTeacher(recipe, source=source, moment=moment, reporter=reporter),
        reporter=reporter,
    )
    has_evaluations = is_evaluated(run, iterations)
    needed = dict.fromkeys(
        name
        for instrument in instruments
        for name in instrument.needs
        if not (instrument.takes_evaluations and has_evaluations)
    )
    names = [
        each for name in needed for each in (map(headroom_name, headroom) if name == HEADROOM else [name])
    ]
    judged = list(dict.fromkeys(name for each in instruments for name in each.judged))
    if judged and recipe.teacher.gives_logprobs:
        names.append(SAMPLED)
    for name in names:
        rollouts.check(name)
    return _Work(
        run=run,
        recipe=recipe,
        moment=moment,
        rollouts=rollouts,
        names=names,
        judged=judged,
        names_failures=any(each.name == FAILURES for each in instruments),
        failure_judge=judge,
    )


def _announce(work: _Work, iterations: Sequence[int]) -> None:
    """Say how often the teacher will be asked."""
    begun = {each.iteration: each for each in stored_analyses(work.run)}

    def missing(name: str, iteration: int) -> int:
        held = len(begun[iteration].rollouts(name)) if iteration in begun else 0
        return max(0, len(work.rollouts.tasks) - held)

    asked = [name for name in work.names if asks_teacher(name) and name != TEACHER]
    with closing(RunDirectory.read(work.run)) as run:
        figures = [run.stage_metrics("evaluate", iteration) or {} for iteration in iterations]
    turns = [each["mean_turns"] for each in figures if each.get("mean_turns")]
    work.rollouts.teacher.announce(
        labelled=sum(missing(name, iteration) for name in asked for iteration in iterations),
        acted=missing(TEACHER, iterations[0]) if TEACHER in work.names else 0,
        mean_turns=max(turns, default=None),
    )


def _analyse(work: _Work, iteration: int) -> None:
    """Make what is missing of one checkpoint."""
    settings = work.recipe.student
    if iteration:
        with closing(RunDirectory.read(work.run)) as run:
            checkpoint = str(run.checkpoint(iteration))
        settings = settings.model_copy(update={"model": checkpoint})
    location = student_location(settings)
    recipe = work.recipe.model_copy(update={"student": settings})
    student = AnalysedStudent(recipe, location=location, moment=work.moment)
    teacher = work.rollouts.teacher

    def prepare() -> None:
        _ = teacher.ready
        student.load()

    path = analysis_path(work.run, iteration)
    work.rollouts.reporter.say(f"student: {location}")
    with closing(
        work.open(path, student=location, weights=model_digest(location), prepare=prepare)
    ) as directory:
        logs: dict[str, TrajectoryLog] = {}
        for name in work.names:
            if name == SAMPLED and not _can_be_compared(work, student, directory):
                continue
            if name == TEACHER:
                logs[name] = _teachers(work)
            else:
                logs[name] = work.rollouts.roll_out(
                    name, iteration=iteration, student=student, directory=directory
                )
        judge: Callable[[Iterable[Trajectory]], Scores]
        for name in work.judged:
            judge = partial(student.judged_labels, step_kind=work.rollouts.step_kind)
            _score(work, name, logs[name], directory.scores(name), judge, iteration=iteration)
        if SAMPLED in logs:
            judge = partial(_diverged, student, teacher)
            _score(work, SAMPLED, logs[SAMPLED], directory.scores(SAMPLED), judge, iteration=iteration)
        if work.names_failures:
            keep_failure_evidence(
                stored_analysis(work.run, iteration),
                source=work.rollouts.source,
                judge=work.failure_judge,
                others=[each.path for each in stored_analyses(work.run) if each.iteration != iteration],
                reporter=work.rollouts.reporter,
            )


def _can_be_compared(work: _Work, student: AnalysedStudent, directory: AnalysisDirectory) -> bool:
    """Does the teacher give log-probabilities of the student's tokens? Where it does not, that is said."""
    if len(directory.scores(SAMPLED)) == len(work.rollouts.tasks):
        return True
    objection = student.objection_to(work.rollouts.teacher.ready)
    if objection is not None:
        work.rollouts.reporter.note(f"the reverse KL is not measured: {objection}")
    return objection is None


def _teachers(work: _Work) -> TrajectoryLog:
    """The teacher's own trajectories: made once for all checkpoints of a run."""
    path, teacher = teacher_path(work.run), work.rollouts.teacher
    name = work.recipe.teacher.shown_name
    with closing(work.open(path, student=name, weights=None, prepare=lambda: teacher.ready)) as directory:
        work.rollouts.roll_out(TEACHER, iteration=0, student=None, directory=directory)
    return TrajectoryLog(rollouts_path(path, TEACHER), is_writable=False)


def _score(
    work: _Work,
    name: str,
    trajectories: TrajectoryLog,
    scores: AppendLog,
    judge: Callable[[Iterable[Trajectory]], Scores],
    *,
    iteration: int,
) -> None:
    """Judge what is not judged yet, in the order of tasks."""
    ids = in_order(trajectories.ids)
    missing = [record_id for record_id in ids if record_id not in scores]
    stage = f"{name} scores"
    with work.rollouts.reporter.progress(seconds=lambda stage: None) as progress:
        progress.begin(stage, iteration, total=len(ids), done=len(ids) - len(missing))
        if missing:
            for trajectory_id, turns in judge(trajectories.read(missing)):
                scores.append_record(
                    {
                        "id": trajectory_id,
                        "turns": [None if turn is None else turn.to_json() for turn in turns],
                    }
                )
                progress.advance(stage, iteration, done=len(scores), note="")


def _diverged(
    student: AnalysedStudent, teacher: AnalysingTeacher, trajectories: Iterable[Trajectory]
) -> Scores:
    return student.divergences(trajectories, teacher=teacher.ready)
