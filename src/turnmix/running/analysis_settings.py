"""Who judges failure modes, and what a teacher costs, as a user says it.

In: settings by name. Out: `JudgeSettings`, `TeacherPrices`. They come from the command line or from code alone: no run
names a judge, which is sent what agents read, and a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnmix.analysis.failures.judge_settings import JudgeSettings
from turnmix.analysis.teacher_prices import TeacherPrices
from turnmix.recipe.recipe_file import validated


def judge_settings(given: Mapping[str, Any]) -> JudgeSettings:
    """Raises UserError: a setting is none, or will not do."""
    return validated(JudgeSettings, given, source="judge")


def teacher_prices(given: Mapping[str, Any]) -> TeacherPrices:
    """Raises UserError: a price is none, or one is lacking."""
    return validated(TeacherPrices, given, source="prices")
