"""What `turnmix doctor` finds cheaply, asked again by whatever is about to take long.

In: a recipe. Out: notes; what would end the run later is a `UserError` now. The teacher's endpoint is asked as
patiently as in the run itself: a rate limit or a server that is starting is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from turnmix.core.doors import check_settings
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.doctor.endpoints import check_student_serving
from turnmix.doctor.machine import check_disk
from turnmix.policies.teacher import Teacher
from turnmix.recipe.recipe import Recipe

_NOTES = {"teacher": ("request", "context")}
"""Findings that end no run: what the endpoint wants is learned, and a context that fills up is data."""


def check_training(
    recipe: Recipe, *, run: Path, num_written: int, is_rolled_out: bool, teacher: Teacher
) -> list[str]:
    """What mixture, objective and teacher say of themselves, room on the disk, the student's server, the teacher.
    Returns notes.

    num_written: checkpoints that the run has
    is_rolled_out: the teacher is not needed any more

    Raises:
        UserError: a line for each thing that is to be mended.
    """
    for settings in (recipe.mixture, recipe.objective, recipe.teacher):
        check_settings(settings)
    notes = [*_told("disk", check_disk(recipe, runs=run, num_written=num_written))]
    if recipe.student.server is not None:
        notes += _told("student", check_student_serving(recipe))
    return notes if is_rolled_out else [*notes, *check_teacher(teacher)]


def check_teacher(teacher: Teacher) -> list[str]:
    """Is it ready: does an endpoint answer, and call a tool? Returns notes. Raises as above."""
    return [*_told("teacher", teacher.check(is_hurried=False))]


def _told(name: str, findings: Iterable[Finding]) -> Iterator[str]:
    failed = []
    for finding in findings:
        is_note = finding.subject in _NOTES.get(name, ())
        if is_note and finding.passed is not True:
            yield f"{name}: {finding.detail}"
        elif finding.passed is False:
            failed.append(f"{name}, {finding.subject}: {finding.detail}")
    if failed:
        raise UserError(*failed)
