"""What a run's training took, read from its finished stages: labels, the teacher's tokens, evaluations.

In: a run's directory, which may be somebody else's. Out: figures; what was not recorded is None. Nothing that its
recipe names is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from turnmix.analysis.ended_rollouts import ended_rollouts, resolved_share
from turnmix.analysis.stored import stored_analyses
from turnmix.analysis.table import Share
from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.usage import Usage
from turnmix.core.yaml_text import yaml_value
from turnmix.store.analysis_directory import OWN
from turnmix.store.place import RECIPE
from turnmix.store.run_directory import RunDirectory
from turnmix.store.subject_directory import MOST_RECIPE_BYTES

TEACHER = "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationFigures:
    """Of one iteration."""

    iteration: int
    answers: int | None
    """Of the teacher's, actions and labels; None: it was not asked, or that is not recorded."""
    labels: int
    """That were learned."""
    label_tokens: int | None
    """Of these, as the student writes them."""
    asked: Usage
    """What asking the teacher took: rollouts and scores, retries too; nothing where it acts without a server."""


@dataclass(frozen=True, kw_only=True)
class StoredTraining:
    """Of one run, as far as it has come."""

    run: Path
    recipe: Mapping[str, Any]
    iterations: tuple[IterationFigures, ...]
    resolved: Mapping[int, Share]
    """Of those judged, by iteration; 0: the base student. By the run's own evaluation, or else by an analysis."""

    @property
    def name(self) -> str:
        return self.run.name or str(self.run)

    @property
    def teacher(self) -> str:
        """The kind of its teacher, or the code that makes it."""
        teacher = self.recipe.get(TEACHER)
        return str(teacher.get("kind")) if isinstance(teacher, Mapping) else "none"

    @cached_property
    def settings(self) -> str:
        """All that its recipe says but for the seed: equal where runs differ in their seeds alone."""
        return json_text({**self.recipe, "seed": None}, sort_keys=True, default=str)

    def until(self, iteration: int) -> tuple[IterationFigures, ...]:
        """All up to an iteration, that one included."""
        return tuple(each for each in self.iterations if each.iteration <= iteration)


def stored_training(path: Path) -> StoredTraining:
    """Raises UserError: there is no run, or what it holds is damaged."""
    with closing(RunDirectory.read(path)) as run:
        last = run.last_trained()
        iterations = tuple(_iteration(run, number) for number in range(1, last + 1))
        evaluated = {number: run.stage_metrics("evaluate", number) for number in range(last + 1)}
    return StoredTraining(
        run=path,
        recipe=_recipe(path / RECIPE),
        iterations=iterations,
        resolved={
            **_resolved_when_analysed(path),
            **{
                number: Share(count=figures["resolved"], of=figures["n"])
                for number, figures in evaluated.items()
                if figures is not None
            },
        },
    )


def _resolved_when_analysed(path: Path) -> dict[int, Share]:
    """By the student alone, in whole analyses."""
    return {
        each.iteration: resolved_share(ended_rollouts(each, OWN))
        for each in stored_analyses(path)
        if each.is_whole(OWN)
    }


def _iteration(run: RunDirectory, iteration: int) -> IterationFigures:
    rollout = run.stage_metrics("rollout", iteration) or {}
    train = run.stage_metrics("train", iteration) or {}
    answers = (rollout.get("teacher") or {}).get("answers")
    tokens = train.get("label_tokens")
    used = [
        Usage(**{name: spent.get(name, 0) for name in Usage.__dataclass_fields__})
        for usages in (rollout.get("usage"), train.get("scoring_usage"))
        for who, spent in (usages or {}).items()
        if who == TEACHER
    ]
    return IterationFigures(
        iteration=iteration,
        answers=answers,
        labels=train.get("labels") or 0,
        label_tokens=tokens if type(tokens) is int else None,
        asked=sum(used, Usage()),
    )


def _recipe(path: Path) -> Mapping[str, Any]:
    try:
        recipe = yaml_value(read_bounded(path, most=MOST_RECIPE_BYTES).decode())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): put it back") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path} holds no recipe: put it back")
    return recipe
