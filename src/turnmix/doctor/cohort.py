"""Whether the cache of the student's cohort fits, where it acts in this process.

In: a recipe. Out: a finding. The cache holds for each row as many tokens as the longest row has, so one long
conversation makes it as large as the whole cohort's would be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from turnmix.core.finding import Finding
from turnmix.doctor.gpus import read_gpus
from turnmix.doctor.machine import GIGABYTE, USABLE, is_for_evaluation, size_of_model
from turnmix.doctor.memory import BYTES, cohort_bytes
from turnmix.recipe.recipe import Recipe


def check_cohort(recipe: Recipe) -> Iterator[Finding]:
    """Nothing where a server acts for the student, nobody acts, or its size is not known."""
    student = recipe.student
    size = size_of_model(student.model)
    if student.server is not None or size is None or not recipe.acts:
        return
    tokens = min(recipe.longest_context, size.context or recipe.longest_context)
    dtype = student.dtype if is_for_evaluation(recipe) else "float32"
    needed = cohort_bytes(size, rows=student.cohort_size, tokens=tokens, dtype=dtype)
    weights = size.parameters * BYTES[dtype]
    gpus = read_gpus() if "cuda" in student.device else []
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = min(gpu.total for gpu in gpus) if gpus else float(machine)
    told = f"{student.cohort_size} conversations of {tokens:,} tokens take {needed / GIGABYTE:,.1f} GB of cache at most"
    if needed + weights <= USABLE * memory:
        yield Finding(subject="cache", passed=True, detail=told)
        return
    fitting = int((USABLE * memory - weights) / (needed / student.cohort_size))
    smaller = [f"student.cohort_size={fitting}"] if fitting > 0 else []
    if recipe.uses_scaffold:
        smaller.append("a smaller scaffold.max_tokens")
    detail = (
        f"{told}, and the student {weights / GIGABYTE:,.1f} GB, of {memory / GIGABYTE:,.1f} GB: set "
        f"{', '.join([*smaller, 'or student.server']) if smaller else 'student.server'}"
    )
    yield Finding(subject="cache", passed=False, detail=detail)
