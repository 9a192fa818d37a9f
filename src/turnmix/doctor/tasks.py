"""Are the recipe's tasks there, whole, and enough?"""

from __future__ import annotations

from collections.abc import Iterator

from turnmix.assembly.source import make_source
from turnmix.core.doors import findings_of
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.recipe.recipe import Recipe


def check_tasks(recipe: Recipe) -> Iterator[Finding]:
    if not recipe.acts:
        return
    try:
        findings = findings_of(recipe.tasks)
        yield from findings
        if any(finding.passed is False for finding in findings):
            return
        source = make_source(recipe)
    except UserError as error:
        yield Finding(subject="tasks", passed=False, detail=str(error))
        return
    trained, held_out = len(source.tasks("train")), len(source.tasks("holdout"))
    detail = f"{trained:,} to train on, {held_out:,} held out"
    yield Finding(subject="tasks", passed=True, detail=detail)
    if held_out < recipe.evaluation.tasks:
        note = f"evaluation.tasks = {recipe.evaluation.tasks}: only {held_out} are held out, all of which are taken"
        yield Finding(subject="holdout", passed=None, detail=note)
