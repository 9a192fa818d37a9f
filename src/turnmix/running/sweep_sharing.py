"""What the runs of one seed have in common is made once: the base student's evaluation, and equal first rollouts.

In: a sweep's planned runs. Out: before a run begins, its directory, as `turnmix train` makes one, with copies of those
trajectories that another run of the sweep holds complete and that this one would make again. The run then goes on with
them as one that was stopped.

Two runs share where all that their recipes say is equal, but for what is named here. So a new setting is a difference
until somebody has shown that it is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.trajectory import StopReason
from turnmix.methods.registry import find_method
from turnmix.recipe.recipe import Recipe, recipe_yaml
from turnmix.rollout.mixture import (
    DaggerMixtureSettings,
    StudentMixtureSettings,
    TeacherMixtureSettings,
    make_mixture,
)
from turnmix.running.sweep_arms import PlannedRun
from turnmix.store.append_log import TrajectoryLog
from turnmix.store.place import RECIPE, holds_run
from turnmix.store.run_directory import RunDirectory

_OF_LEARNING = ("iterations", "trackers", "checkpoints", "cluster", "data.filter", "data.dataset", *(
    f"learner.{name}"
    for name in ("learning_rate", "schedule", "min_learning_rate", "warmup_ratio", "weight_decay", "betas",
                 "gradient_clip", "tree", "batch_size", "epochs")
))  # fmt: skip
"""What is first looked at when something has been rolled out."""
_BESIDE_BASE = (*_OF_LEARNING, "method", "mixture", "teacher", "evaluation.every",
                "rollouts.tasks_per_iteration", "rollouts.samples_per_task", "rollouts.accidents")  # fmt: skip
"""What the base student, alone on the holdout tasks, never meets."""
_BESIDE_ROLLOUTS = (*_OF_LEARNING, "method", "mixture", "evaluation")
"""What the first rollouts do not meet, once it is known who acts and what is asked for."""
_SHARE_OF_TEACHER = (TeacherMixtureSettings, StudentMixtureSettings, DaggerMixtureSettings)
"""Mixtures in which the teacher's share says all of who acts: a turn's draw is compared with it."""


def _base_key(recipe: Recipe) -> str | None:
    """Equal for recipes whose base evaluations are equal; None: there is none."""
    if not (recipe.evaluation.tasks and recipe.evaluation.base):
        return None
    # What a server is asked to tell depends on the objective.
    beside = _BESIDE_BASE if recipe.student.server is not None else (*_BESIDE_BASE, "objective")
    return json_text(_without(recipe, beside))


def _rollouts_key(recipe: Recipe) -> str | None:
    """Equal for recipes whose first rollouts are equal; None: there are none."""
    if recipe.data.messages is not None:
        return None
    is_by_share = type(recipe.mixture) in _SHARE_OF_TEACHER
    acts = make_mixture(recipe.mixture).beta(1) if is_by_share else recipe.mixture.model_dump(mode="json")
    label: bool | str | None = None
    # Where the teacher acts on every turn, what it did is the label, for all methods.
    if acts != 1.0 or recipe.rollouts.accidents.are_on:
        asks = find_method(recipe.method).label
        label = asks if isinstance(asks, bool) else recipe.method
    return json_text([_without(recipe, _BESIDE_ROLLOUTS), acts, label, recipe.asks_teacher])


def _without(recipe: Recipe, names: Collection[str]) -> dict[str, Any]:
    """What the recipe says, but for these settings."""
    said = recipe.model_dump(mode="json")
    for name in names:
        section, _, setting = name.partition(".")
        (said[section] if setting else said).pop(setting or section)
    return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Trajectories that runs may share."""

    name: str
    stage: str
    iteration: int
    batch: str
    """Of their ids."""
    log: Callable[[RunDirectory], TrajectoryLog]
    key: Callable[[Recipe], str | None]


PARTS = (
    Part(
        name="base evaluation",
        stage="evaluate",
        iteration=0,
        batch="e000",
        log=lambda run: run.evaluations,
        key=_base_key,
    ),
    Part(
        name="first rollouts",
        stage="rollout",
        iteration=1,
        batch="i001",
        log=lambda run: run.trajectories,
        key=_rollouts_key,
    ),
)


class Sharing:
    """Knows of a sweep's runs which could give what to which."""

    def __init__(self, runs: Sequence[PlannedRun], *, directory: Path) -> None:
        """`directory`: the sweep's."""
        self._directory = directory
        self._runs = runs
        self._keys = {run.name: [part.key(run.recipe) for part in PARTS] for run in runs}

    def is_worth_waiting(self, run: PlannedRun, training: Collection[str]) -> bool:
        """Will one of those that are being trained, named here, have more that this one could take than any has now?"""
        if holds_run(self._directory / run.name):
            return False
        now = max((len(self._held(donor, parts)) for donor, parts in self._donors(run)), default=0)
        return any(len(parts) > now for donor, parts in self._donors(run) if donor.name in training)

    def take(self, run: PlannedRun) -> str | None:
        """Begin a run that has not begun with what another holds; what it takes from whom, in words; None: nothing."""
        if holds_run(self._directory / run.name):
            return None
        held = [(donor, self._held(donor, parts)) for donor, parts in self._donors(run)]
        donor, parts = max(held, key=lambda each: len(each[1]), default=(run, []))
        try:
            if not parts or not self._give(donor, parts, run):
                return None
        except (UserError, OSError):
            return (
                None  # the run itself tells what stands in the way of its directory, and makes what it lacks
            )
        return f"takes {' and '.join(part.name for part in parts)} from {donor.name}"

    def _donors(self, run: PlannedRun) -> Iterator[tuple[PlannedRun, list[Part]]]:
        """Each other run that has equal parts, with these."""
        own = self._keys[run.name]
        for donor in self._runs:
            pairs = zip(PARTS, own, self._keys[donor.name], strict=True)
            parts = [part for part, mine, its in pairs if mine is not None and mine == its]
            if parts and donor is not run:
                yield donor, parts

    def _held(self, donor: PlannedRun, parts: Sequence[Part]) -> list[Part]:
        """Those that are complete there, in a run of the donor's recipe."""
        path = self._directory / donor.name
        try:
            if not holds_run(path) or (path / RECIPE).read_text(encoding="utf-8") != recipe_yaml(
                donor.recipe
            ):
                return []
            with closing(RunDirectory.read(path)) as run:
                return [part for part in parts if run.stage_metrics(part.stage, part.iteration) is not None]
        except (UserError, OSError, ValueError):
            return []  # it is damaged, which its own run tells

    def _give(self, donor: PlannedRun, parts: Sequence[Part], run: PlannedRun) -> bool:
        """Copy; False: the donor was begun with other versions, or nobody knows when, which its templates may show.

        Raises:
            UserError: the donor is damaged, or something else lies where the run goes.
            OSError: it cannot be written.
        """
        with closing(RunDirectory.read(self._directory / donor.name)) as giver:
            moment = giver.begun()
            if moment is None or any(giver.changed_versions()):
                return False
            path = self._directory / run.name
            with closing(
                RunDirectory.create(path, recipe_yaml=recipe_yaml(run.recipe), begun=moment)
            ) as taker:
                for part in parts:
                    log = part.log(giver)
                    for trajectory in log.read(log.ids_of(part.batch)):
                        # One that failed around the agent is tried again.
                        if trajectory.stop_reason is not StopReason.infra_error:
                            part.log(taker).append(trajectory)
        return True
