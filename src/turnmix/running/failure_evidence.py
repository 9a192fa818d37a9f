"""What an analysis needs of the world to name failure modes: where its tasks are solved, and a judge's answers.

In: an analysis with its trajectories, its tasks, and who judges. Out: records beside the trajectories, from which the
tables are made without a source and without a judge.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from pathlib import Path

from turnmix.analysis.failures.findings import unresolved_of
from turnmix.analysis.failures.judge import Judge, Judgement, Question, ask, question_about
from turnmix.analysis.failures.judge_settings import JudgeSettings
from turnmix.analysis.failures.labelled_set import labelled_set
from turnmix.analysis.failures.records import FailureRecords
from turnmix.analysis.failures.rules import mode_by_rule
from turnmix.analysis.failures.tables import own_trajectories
from turnmix.analysis.stored import StoredAnalysis
from turnmix.core.event_loop import run_coroutine
from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import TaskSource
from turnmix.environments.solution_outline import SolutionOutline, solution_outline_of
from turnmix.policies.endpoint.settings import redacted_url
from turnmix.running.reporter import Reporter


def keep_failure_evidence(
    analysis: StoredAnalysis,
    *,
    source: TaskSource,
    judge: JudgeSettings | None,
    others: Iterable[Path] = (),
    reporter: Reporter,
) -> None:
    """Keep what is not kept yet, in the directory of `analysis`, which this process holds. `others`: analyses in which
    equal questions may have been answered.

    Raises:
        UserError: the judge's endpoint refuses its settings, or what is kept is damaged or cannot be written.
    """
    trajectories = own_trajectories(analysis)
    outlines = _outlines(source, {each.task_id for each in trajectories})
    records = FailureRecords(analysis.path)
    with records.writing() as writer:
        for task_id, outline in outlines.items():
            writer.keep_outline(task_id, outline)
        if judge is None:
            return
        who = Judge.of(judge)
        questions = _questions(trajectories, outlines, who)
        held = records.answers()
        elsewhere = _answers(others)
        for question_id in questions.keys() & elsewhere.keys() - held.keys():
            writer.keep_answer(question_id, elsewhere[question_id])
        missing = [each for each in questions.values() if each.id not in held and each.id not in elsewhere]
        writer.keep_judge(who)
        if missing:
            reporter.say(
                f"judge: {len(missing)} trajectories, those of the labelled set among them, are shown to "
                f"{judge.model} at {redacted_url(judge.endpoint)}"
            )
            with reporter.progress(seconds=lambda stage: None) as progress:
                progress.begin("judge", analysis.iteration, total=len(missing), done=0)
                num_answered = 0

                def keep(asked: Question, answer: Judgement) -> None:
                    nonlocal num_answered
                    writer.keep_answer(asked.id, answer)
                    num_answered += 1
                    progress.advance("judge", analysis.iteration, done=num_answered, note="")

                lost = run_coroutine(ask(missing, judge, keep=keep))
            if lost:
                reporter.note(f"judge: {lost} of {len(missing)} gave no answer: the same command asks again")


def _outlines(source: TaskSource, task_ids: Collection[str]) -> dict[str, SolutionOutline]:
    """As far as the source tells."""
    tasks = (task for task in source.tasks("holdout") if task.id in task_ids)
    found = ((task.id, solution_outline_of(source, task)) for task in islice(tasks, len(task_ids)))
    return {task_id: outline for task_id, outline in found if outline is not None}


def _questions(
    trajectories: Iterable[Trajectory], outlines: Mapping[str, SolutionOutline], judge: Judge
) -> dict[str, Question]:
    """Of what no rule decides, here and in the labelled set, by id."""
    unresolved = [*unresolved_of(trajectories, outlines), *(each.unresolved for each in labelled_set())]
    found = (question_about(each, judge) for each in unresolved if mode_by_rule(each) is None)
    return {each.id: each for each in found}


def _answers(analyses: Iterable[Path]) -> dict[str, Judgement]:
    return {
        question_id: answer
        for path in analyses
        for question_id, answer in FailureRecords(path).answers().items()
    }
