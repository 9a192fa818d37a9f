"""The sections of a recipe that are no part's own settings, and the doors through which a section's kind is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from turnmix.core.doors import Door, may_import
from turnmix.core.plugins import is_plugin_name, load_plugin, meant_plugin
from turnmix.core.settings import NAMES, Settings
from turnmix.core.trajectory import Unfinished
from turnmix.environments.environment import TaskSettings
from turnmix.environments.foreign import ForeignTaskSettings
from turnmix.environments.harbor.source import HarborSettings
from turnmix.environments.minirepo.source import MinirepoSettings
from turnmix.environments.repositories.source import TaskFileSettings
from turnmix.environments.verifiers.source import VerifiersSettings
from turnmix.environments.worlds.babyai import BabyAISettings
from turnmix.environments.worlds.gymnasium import GymnasiumSettings
from turnmix.environments.worlds.openenv import OpenEnvSettings
from turnmix.environments.worlds.textworld import TextWorldSettings
from turnmix.gateway.scaffolds.settings import SCAFFOLDS, ForeignScaffoldSettings
from turnmix.gateway.settings import GatewaySettings
from turnmix.methods.filters import FILTERS, find_filter
from turnmix.policies.teacher import TeacherSettings
from turnmix.recipe.setting_search import meant_value
from turnmix.rollout.accidents import check_turns
from turnmix.rollout.mixture import MIXTURES, MixtureSettings
from turnmix.sandboxes.selection import SANDBOXES
from turnmix.teachers.endpoint import EndpointTeacherSettings
from turnmix.teachers.local import LocalTeacherSettings
from turnmix.teachers.oracle import OracleSettings
from turnmix.training.objective_settings import OBJECTIVES, ObjectiveSettings


class AccidentSettings(Settings):
    """What befalls training rollouts: one action of nobody's, so that states are seen that need recovery."""

    kind: str = "none"
    """none; breaking, after which nothing succeeds until it is undone; harmless, which looks alike and breaks nothing;
    or another that the tasks' source has."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Of an iteration's tasks; which these are is drawn from the seed, the iteration and the task."""
    turns: tuple[int, int] = (4, 8)
    """The first and the last turn, counted from 1, of which the accident's is drawn once for a task; where it is not
    possible there, as before anything was looked at, it happens in the next turn in which it is."""

    @field_validator("turns")
    @classmethod
    def _is_range(cls, turns: tuple[int, int]) -> tuple[int, int]:
        check_turns(turns)
        return turns

    @property
    def are_on(self) -> bool:
        """May one happen?"""
        return self.kind != "none" and self.share > 0


class RolloutSettings(Settings):
    """How one iteration's trajectories are collected."""

    tasks_per_iteration: int = Field(default=512, ge=1)
    """Tasks of one online batch. The training tasks are gone through once before any comes again."""
    samples_per_task: int = Field(default=1, ge=1)
    """Trajectories per task; left out, the method's own number: 8 for grpo, 1 for the others."""
    concurrency: int = Field(default=64, ge=1)
    """Trajectories under way at one moment, those of an evaluation beside rollouts included; at least one cohort always
    runs."""
    attempts: int = Field(default=3, ge=1)
    """Attempts at a trajectory before it counts as an infra_error."""
    gateway: GatewaySettings = GatewaySettings()
    """What scaffolds of your own may ask, where they drive the rollouts."""
    accidents: AccidentSettings = AccidentSettings()
    """One scripted action in some of them, which is executed and never taught; what follows it is."""
    scaffold: Annotated[ForeignScaffoldSettings | None, SCAFFOLDS] = None
    """A scaffold of your own, in place of TurnMix's tools and prompts; evaluations take it too. Left out: TurnMix's
    own, which the section `scaffold` says."""


class DataSettings(Settings):
    """What is trained on."""

    dataset: Literal["fresh", "aggregate"] = "fresh"
    """fresh: this iteration's trajectories (paper App. F); aggregate: those of all iterations so far (paper
    Eq. 3-4)."""
    filter: str
    """Which trajectories are kept: submitted, where the agent finished with a patch; resolved, where that passes the
    tests; finished, where the agent called finish, also in a world without patches; all; or a function of your own from
    a trajectory to true or false, package.module:Name. Left out, the method's own, and all where data.messages is
    given."""
    messages: Annotated[tuple[str, ...], NAMES] | None = None
    """Files of trajectories from elsewhere, which are learned instead of rollouts, without a teacher: JSON lines, a
    JSON list or Parquet, of OpenAI messages; paths, and patterns such as data/*.jsonl. Of several iterations each
    learns a part of the rows."""
    tools: str | None = None
    """A JSON file with the tools of those rows of data.messages that call tools and describe none."""

    @field_validator("filter")
    @classmethod
    def _is_a_filter(cls, name: str, info: ValidationInfo) -> str:
        if name not in FILTERS and not is_plugin_name(name):
            close = meant_value(name, list(FILTERS)) or meant_plugin(name)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ValueError(f"must be {', '.join(FILTERS)}, or package.module:Name{hint}")
        if may_import(name, info):
            find_filter(name)
        return name


def _are_there(names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """The names, of which those of the user's own code are imported."""
    for name in names:
        if is_plugin_name(name) and may_import(name, info):
            load_plugin(name, field="trackers")
    return names


TrackerNames = Annotated[tuple[str, ...], NAMES, AfterValidator(_are_there)]


class CheckpointSettings(Settings):
    """What is kept of the student after each iteration."""

    keep: int | None = Field(default=None, ge=1)
    """The last so many checkpoints stay, and those of which an evaluation lies in the run. null: all stay. The
    optimiser's state, twice as large as the weights, always stays with the last alone, from which the run goes on."""


class EvaluationSettings(Settings):
    """How the student is measured: greedy, alone, on holdout tasks."""

    tasks: int = Field(default=200, ge=0)
    """The first so many holdout tasks, or all of them where there are fewer. 0: nothing is evaluated, as where
    data.messages is given and no tasks are."""
    every: int = Field(default=1, ge=1)
    """Evaluate after every so many iterations, and always after the last. The next rollouts run beside it and come
    first."""
    unfinished: Unfinished = "unresolved"
    """A trajectory whose agent did not call finish: unresolved, whatever it left; graded: what it left is judged, as
    harnesses do that take a patch from every trajectory. Each rate says which."""
    base: bool | Literal["late"] = True
    """Evaluate the base student too. true: before any training, as behind a server in any case, which has one set of
    weights; late: beside the first trainings, or on an accelerator after the first, with a second copy of it in memory,
    so that learning is seen sooner."""


def _teacher_kind(given: Mapping[str, Any]) -> str:
    return "endpoint" if "endpoint" in given else "local" if "model" in given else "oracle"


TASKS = Door(
    field="tasks.source",
    base=TaskSettings,
    kinds=(
        MinirepoSettings,
        TaskFileSettings,
        ForeignTaskSettings,
        BabyAISettings,
        GymnasiumSettings,
        TextWorldSettings,
        HarborSettings,
        OpenEnvSettings,
        VerifiersSettings,
    ),
    implied=lambda given: "file" if "path" in given else "minirepo",
)
TEACHERS = Door(
    field="teacher.kind",
    base=TeacherSettings,
    kinds=(OracleSettings, EndpointTeacherSettings, LocalTeacherSettings),
    implied=_teacher_kind,
)
MIXTURE = Door(field="mixture.kind", base=MixtureSettings, kinds=tuple(MIXTURES.values()))
OBJECTIVE = Door(field="objective.kind", base=ObjectiveSettings, kinds=tuple(OBJECTIVES.values()))
DOORS: Mapping[str, Door] = {
    door.section: door for door in (TASKS, SANDBOXES, TEACHERS, MIXTURE, OBJECTIVE, SCAFFOLDS)
}
"""By the section whose kind they choose."""
