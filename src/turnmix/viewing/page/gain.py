"""Did a training help? The last evaluation of a run against that of its base student, or of another run, by task.

In: a run. Out: the comparison; None where it has not both on tasks that they share.
"""

from __future__ import annotations

import numpy as np

from turnmix.analysis.statistics.comparison import Comparison, compare
from turnmix.analysis.statistics.measured import Measured
from turnmix.viewing.page.reported_run import EVALUATIONS, ReportedRun


def gain(run: ReportedRun) -> Comparison | None:
    """Raises UserError: a trajectory is damaged."""
    evaluated = [iteration for iteration, figures in run.evaluated() if figures["n"]]
    if not evaluated or evaluated[0] != 0 or len(evaluated) < 2:
        return None
    base, last = _measured(run, 0), _measured(run, evaluated[-1])
    if not set(base.tasks) & set(last.tasks):
        return None
    return compare(last, base)


def difference(a: ReportedRun, b: ReportedRun) -> Comparison | None:
    """The last evaluation of one run less that of another. Raises UserError: a trajectory is damaged."""
    last = [[iteration for iteration, figures in run.evaluated() if figures["n"]][-1:] for run in (a, b)]
    if not all(last):
        return None
    first, second = (_measured(run, iteration) for run, (iteration,) in zip((a, b), last))
    return compare(first, second) if set(first.tasks) & set(second.tasks) else None


def _measured(run: ReportedRun, iteration: int) -> Measured:
    outcomes: dict[str, list[bool]] = {}
    for each in run.sets:
        if each.name != EVALUATIONS:
            continue
        for trajectory in each.log.read(each.log.ids_of(f"e{iteration:03d}")):
            if trajectory.verdict is not None:
                outcomes.setdefault(trajectory.task_id, []).append(trajectory.verdict.resolved)
    tasks = sorted(outcomes)
    return Measured(
        name=f"iteration {iteration}",
        tasks=tasks,
        seeds=[0],
        numerators=np.array([[sum(outcomes[task]) for task in tasks]], dtype=float),
        denominators=np.array([[len(outcomes[task]) for task in tasks]], dtype=float),
    )
