"""All checks of a recipe, side by side, each with an end.

In: a recipe. Out: findings in a fixed order. No check raises, waits for another, or takes longer than
`SECONDS`: what has not answered by then is a finding too.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from turnmix.core.errors import TurnMixError
from turnmix.core.finding import Finding
from turnmix.doctor.cluster import check_cluster
from turnmix.doctor.cohort import check_cohort
from turnmix.doctor.containers import check_containers
from turnmix.doctor.data import check_data
from turnmix.doctor.endpoints import check_student_serving, check_teacher
from turnmix.doctor.machine import check_disk, check_memory, check_packages
from turnmix.doctor.method import check_method
from turnmix.doctor.models import check_models
from turnmix.doctor.plugins import check_plugins
from turnmix.doctor.tasks import check_tasks
from turnmix.doctor.tools import check_tools
from turnmix.recipe.recipe import Recipe

SECONDS = 30.0
Check = Callable[[Recipe], Iterable[Finding]]
CHECKS: dict[str, Check] = {
    "plugins": check_plugins,
    "data": check_data,
    "tasks": check_tasks,
    "tools": check_tools,
    "method": check_method,
    "packages": check_packages,
    "sandbox": check_containers,
    "disk": check_disk,
    "memory": check_memory,
    "cohort": check_cohort,
    "model": check_models,
    "student": check_student_serving,
    "teacher": check_teacher,
    "cluster": check_cluster,
}


def run_checks(recipe: Recipe, *, seconds: float = SECONDS) -> Iterator[tuple[str, Finding]]:
    """Each check's name with each of its findings."""
    answers: dict[str, queue.SimpleQueue[list[Finding]]] = {}
    for name, check in CHECKS.items():
        answers[name] = queue.SimpleQueue()
        # Daemons: one that hangs does not keep the program from ending.
        threading.Thread(target=_run, args=(check, recipe, answers[name]), daemon=True).start()
    deadline = time.monotonic() + seconds
    for name, answer in answers.items():
        try:
            findings = answer.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            detail = f"no answer in {seconds:g} seconds: try again, or look at what the recipe names there"
            findings = [Finding(subject="time", passed=False, detail=detail)]
        for finding in findings:
            yield name, finding


def _run(check: Check, recipe: Recipe, answer: queue.SimpleQueue[list[Finding]]) -> None:
    try:
        answer.put(list(check(recipe)))
    except TurnMixError as error:
        answer.put([Finding(subject="error", passed=False, detail=str(error))])
    except Exception as error:  # a doctor that dies of one check has not told the others
        detail = f"{type(error).__name__}: {error}"
        answer.put([Finding(subject="error", passed=False, detail=detail)])
