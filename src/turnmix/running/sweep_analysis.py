"""A sweep's second step: each run's analysis. In: a run, and what is to be measured. Out: the command that does it, and
whether there is anything left to do, without starting it."""

from __future__ import annotations

import os
from pathlib import Path

from turnmix.analysis.instruments import find_instrument
from turnmix.analysis.stored import StoredAnalysis, stored_analyses
from turnmix.running.comparison_file import AnalysisSettings
from turnmix.store.analysis_directory import HEADROOM, scores_path
from turnmix.store.append_log import AppendLog


def analyse_words(path: Path, analysis: AnalysisSettings) -> list[str]:
    """The command that analyses a run."""
    checkpoints = analysis.checkpoints
    which = checkpoints if isinstance(checkpoints, str) else ",".join(map(str, checkpoints))
    tasks = [] if analysis.tasks is None else ["--tasks", str(analysis.tasks)]
    return [
        "analyse", str(path), *analysis.overrides, "--checkpoints", which, *tasks,
        "--instruments", ",".join(analysis.instruments),
    ]  # fmt: skip


def is_analysed(run: Path, analysis: AnalysisSettings, *, iterations: int) -> bool:
    """Is it known that nothing is left to do? `iterations`: of the run's training."""
    asked = analysis.checkpoints
    # Which checkpoints `all` are, and which kinds of steps a headroom is of, the command itself knows.
    if asked == "all" or any(HEADROOM in find_instrument(name).needs for name in analysis.instruments):
        return False
    wanted = {iterations} if isinstance(asked, str) else {*asked}
    found = {each.iteration: each for each in stored_analyses(run)}
    return wanted <= {*found} and all(_is_whole(found[iteration], analysis) for iteration in wanted)


def _is_whole(stored: StoredAnalysis, analysis: AnalysisSettings) -> bool:
    if analysis.tasks is not None and stored.num_tasks != analysis.tasks:
        return False
    instruments = [find_instrument(name) for name in analysis.instruments]
    return all(stored.is_whole(name) for each in instruments for name in each.needs) and all(
        _num_records(scores_path(stored.path, name)) >= stored.num_tasks
        for each in instruments
        for name in each.judged
    )


def _num_records(path: Path) -> int:
    return len(AppendLog(path, is_writable=False)) if os.path.lexists(path) else 0
