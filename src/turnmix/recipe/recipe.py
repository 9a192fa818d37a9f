"""The recipe: everything a run depends on, composed of the settings of its parts.

In: a recipe's name or path and `key=value` overrides. Out: a `Recipe` with every default filled in, also
those that its method sets. Two equal recipes give equal runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from turnmix.core.errors import RecipeError
from turnmix.core.plugins import is_plugin_name
from turnmix.core.printable import spelled_out
from turnmix.core.redaction import redacted
from turnmix.core.settings import NAMES, Settings
from turnmix.core.trajectory import Unfinished
from turnmix.environments.minirepo.source import MinirepoSettings
from turnmix.environments.repositories.source import TaskFileSettings
from turnmix.methods.agreement import Choices, check_agreement, doubts
from turnmix.methods.filters import FILTERS, find_filter
from turnmix.methods.registry import METHODS, find_method
from turnmix.policies.server.settings import GIVES_TOKENS
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.recipe.found_recipe import FOUND, unsaid
from turnmix.recipe.layers import EXTENDS, Layer, implied_kind, merged, read_layers, without_other_kinds
from turnmix.recipe.mistakes import shown
from turnmix.recipe.recipe_file import SHIPPED, find_recipe, hides_shipped, validated, with_overrides
from turnmix.recipe.setting_search import meant_value
from turnmix.recipe.typed_keys import refuse_keys
from turnmix.rollout.mixture import (
    AggrevateMixtureSettings,
    DaggerMixtureSettings,
    MixtureSettings,
    StudentMixtureSettings,
    TeacherMixtureSettings,
)
from turnmix.sandboxes.selection import SandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.store.made_here import is_made_here
from turnmix.teachers.endpoint import EndpointTeacherSettings
from turnmix.teachers.local import LocalTeacherSettings
from turnmix.teachers.oracle import OracleSettings
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective_settings import (
    ClippedRatioSettings,
    CrossEntropySettings,
    ObjectiveSettings,
    ReverseKlSettings,
)


class MinirepoTaskSettings(MinirepoSettings):
    """The embedded tasks."""

    source: Literal["minirepo"] = "minirepo"
    """Where tasks come from."""


class TaskFileTaskSettings(TaskFileSettings):
    """Real repositories, from a task file."""

    source: Literal["file"] = "file"
    """Where tasks come from."""


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
    def _is_a_filter(cls, name: str) -> str:
        if name not in FILTERS and not is_plugin_name(name):
            close = meant_value(name, list(FILTERS))
            hint = f"; did you mean {close!r}?" if close else ""
            raise ValueError(f"must be {', '.join(FILTERS)}, or package.module:Name{hint}")
        find_filter(name)
        return name


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


class Recipe(Settings):
    """One run."""

    method: str
    """What is trained how: sft, grpo, opd, dagger, aggrevate or oec, or a method of your own, package.module:NAME. It
    brings mixture, data.filter, rollouts.samples_per_task and objective."""
    seed: int = Field(default=0, ge=0)
    """Seeds all that is drawn in the run."""
    iterations: int = Field(default=5, ge=1)
    """Rounds of rollouts and learning."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of tensor code. 1 is best for nano models."""
    trackers: Annotated[tuple[str, ...], NAMES] = ()
    """Where figures go beside tensorboard: wandb, mlflow, trackio, or another that accelerate knows."""
    tasks: Annotated[MinirepoTaskSettings | TaskFileTaskSettings, Field(discriminator="source")] = (
        MinirepoTaskSettings()
    )
    """Which tasks."""
    sandbox: SandboxSettings = SandboxSettings()
    """Where the agent's commands run."""
    scaffold: ScaffoldSettings = ScaffoldSettings()
    """The agent's tools and budgets."""
    student: StudentSettings = StudentSettings()
    """Who learns, and acts."""
    teacher: Annotated[
        OracleSettings | EndpointTeacherSettings | LocalTeacherSettings, Field(discriminator="kind")
    ] = OracleSettings()
    """Who teaches."""
    mixture: Annotated[
        DaggerMixtureSettings | AggrevateMixtureSettings | TeacherMixtureSettings | StudentMixtureSettings,
        Field(discriminator="kind"),
    ]
    """Who acts; left out, the method's own."""
    rollouts: RolloutSettings = RolloutSettings()
    """How trajectories are collected."""
    data: DataSettings
    """What is trained on."""
    objective: Annotated[
        CrossEntropySettings | ClippedRatioSettings | ReverseKlSettings, Field(discriminator="kind")
    ]
    """With which loss; left out, the method's own."""
    learner: LearnerSettings = LearnerSettings()
    """How it is learned."""
    checkpoints: CheckpointSettings = CheckpointSettings()
    """What is kept on the disk."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How progress is measured."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Lay the method's choices, the tasks' source and the teacher's kind under what is given."""
        if not isinstance(given, dict):
            return given
        data = dict(given)
        for section in ("tasks", "teacher"):
            if isinstance(value := data.get(section), dict):
                data[section] = {**implied_kind(section, value), **value}
        student, evaluation = data.get("student"), data.get("evaluation")
        is_served = isinstance(student, dict) and student.get("server") is not None
        if is_served and isinstance(evaluation, dict) and evaluation.get("base") == "late":
            data["evaluation"] = {**evaluation, "base": True}
        _fill_in_imported(data)
        name = data.get("method")
        if name not in list(METHODS) and not is_plugin_name(name):
            foreign = [shown(key) for key in data if key not in cls.model_fields]
            told = (
                f"; no recipe has {', '.join(foreign)}: see `turnmix train minirepo_dagger --explain`"
                if foreign
                else ""
            )
            raise ValueError(_wrong_method(name) + told)
        method = find_method(str(name))
        # What learns from how likely its own tokens were is sampled from the distribution that learns.
        is_sampled = method.objective.learns_from_samples
        for section, defaults in (
            ("student", {"temperature": 1.0, "top_p": 1.0} if is_sampled else {}),
            ("data", {"filter": method.filter}),
            ("rollouts", {"samples_per_task": method.samples_per_task}),
        ):
            if isinstance(value := data.get(section) or {}, dict):
                data[section] = {**defaults, **value}
        data["mixture"] = _laid_under(data.get("mixture"), method.mixture)
        data["objective"] = _laid_under(data.get("objective"), method.objective)
        return data

    @property
    def asks_teacher(self) -> bool:
        """Does the teacher act or label? Else it scores at most."""
        return self.data.messages is None and (
            find_method(self.method).label is not False or self.mixture.asks_teacher
        )

    @property
    def acts(self) -> bool:
        """Does anyone act, in rollouts or evaluations?"""
        return self.data.messages is None or self.evaluation.tasks > 0

    @property
    def longest_context(self) -> int:
        """Tokens of the longest conversation with the student's longest answer."""
        return self.scaffold.max_tokens + self.student.max_new_tokens

    @model_validator(mode="after")
    def _check_tool_calls(self) -> Recipe:
        """A teacher such as the oracle calls tools natively, and reads its own calls back."""
        if self.scaffold.tool_calls == "text" and self.asks_teacher and not self.teacher.writes_text_calls:
            raise ValueError(
                f"scaffold.tool_calls: 'text': the {self.teacher.title} writes no calls as text: leave it at native, "
                "or give another teacher"
            )
        return self

    @model_validator(mode="after")
    def _check_imported(self) -> Recipe:
        """What comes from elsewhere is taught as it was executed."""
        if self.data.messages is None and self.data.tools is not None:
            raise ValueError(
                f"data.tools: {self.data.tools!r}: describes tools of data.messages, which is not given: give it, or "
                "leave data.tools out"
            )
        if self.data.messages is not None and self.method != "sft":
            raise ValueError(
                f"data.messages: {self.method} learns in states that its student visits, which no file holds: leave it "
                "out, or set method to sft"
            )
        return self

    @property
    def _choices(self) -> Choices:
        return Choices(
            method=find_method(self.method),
            mixture=self.mixture,
            filter=self.data.filter,
            samples_per_task=self.rollouts.samples_per_task,
            objective=self.objective,
            dataset=self.data.dataset,
        )

    @property
    def doubts(self) -> list[str]:
        """What it does that whoever wrote it better knows of: a line each."""
        return list(doubts(self._choices))

    @model_validator(mode="after")
    def _check_method(self) -> Recipe:
        """It does what its method's name says."""
        check_agreement(self._choices)
        return self

    @model_validator(mode="after")
    def _check_objective(self) -> Recipe:
        """Student and teacher can give what the objective needs."""
        objective, server = self.objective, self.student.server
        if objective.learns_from_samples and server is not None and not GIVES_TOKENS[server.engine]:
            raise ValueError(
                f"student.server.engine: {server.engine!r}: {self.method} learns from the student's own tokens "
                "and their log-probabilities, which this engine does not return: use vllm, leave "
                "student.server out, or choose a method that learns from text, such as dagger"
            )
        teacher, top_p = self.teacher, self.student.top_p
        if top_p != 1 and (objective.has_ratio or objective.needs_scores):
            raise ValueError(
                f"student.top_p: {top_p}: {self.method} weighs tokens by how likely they were, which holds for "
                "tokens sampled from all of them, at any temperature: leave student.top_p out, which is 1"
            )
        needs_teacher = objective.needs_scores or objective.runs_teacher
        if needs_teacher and not (teacher.gives_logprobs or teacher.gives_logits):
            raise ValueError(
                f"teacher.kind: {teacher.kind!r}: {self.method} needs the teacher's log-probabilities of the student's "
                f"tokens, and the {teacher.title} has none: set teacher.kind to local and name a teacher.model, give "
                "an endpoint that returns prompt_logprobs, or choose a method that learns from the teacher's "
                "text, such as dagger"
            )
        if objective.runs_teacher:
            estimate = getattr(objective, "estimate", None)
            name, value, fix = (
                ("objective.kind", objective.kind, "choose another objective")
                if estimate is None
                else ("objective.estimate", estimate, "set objective.estimate to sampled")
            )
            if not teacher.gives_logits:
                raise ValueError(
                    f"{name}: {value!r}: needs all of the teacher's logits, which the "
                    f"{teacher.title} does not give: set teacher.kind to local and name a "
                    f"teacher.model, or {fix}"
                )
            if (here := teacher.model_here) is not None and here.device != self.student.device:
                raise ValueError(
                    f"teacher.device: {here.device!r}: with {name} {value} the teacher runs "
                    f"beside the student: set it to {self.student.device!r}"
                )
        return self


def load_recipe(
    name: str,
    overrides: Sequence[str] = (),
    *,
    say: Callable[[str], None] = lambda line: None,
    unused: Sequence[str] = (),
    is_of_run: bool = False,
) -> Recipe:
    """The recipe found by path or bare name, with overrides such as `learner.epochs=1` laid over it.

    `say` is told, a line each, what an override of the method leaves out, and what the recipe does that one
    better knows of. `unused`: beginnings of names, such as `teacher`, of settings that will not be used.
    `is_of_run`: a run was named, not its recipe.

    Raises:
        RecipeError: one line for each mistake; or for each powerful setting that only a recipe says which came with
            somebody's run (`found_recipe`).
    """
    path = find_recipe(name)
    is_hiding = hides_shipped(name, path)
    layers = read_layers(path, is_found=is_hiding or (is_of_run and not is_made_here(path)))
    recipe, data = _loaded(name, layers, overrides, say=say)
    if any(layer.is_found for layer in layers):
        own, _ = _assembled([layer.without_powerful() for layer in layers], with_overrides({}, overrides))
        if lines := unsaid(recipe, data, with_overrides(own, overrides), unused=unused):
            why = f"hides the recipe {name} of TurnMix: name it by its path, or" if is_hiding else FOUND
            raise RecipeError(
                f"{path} {why} repeat what these settings say:", *(f"  {line}" for line in lines)
            )
    return recipe


def recipe_of(
    given: Mapping[str, Any], overrides: Sequence[str] = (), *, say: Callable[[str], None] = lambda line: None
) -> Recipe:
    """The recipe of a mapping as a recipe file holds one, `extends` included: relative to the current directory, or by
    a bare name. Raises RecipeError, as above."""
    data, path = dict(given), Path("the mapping")
    extended = data.pop(EXTENDS, None)
    layers = [] if extended is None else read_layers(find_recipe(str(extended)))
    below = layers[-1] if layers else None
    return _loaded(str(path), [*layers, Layer(path=path, data=data, below=below)], overrides, say=say)[0]


def stored_recipe(path: Path) -> Recipe:
    """A run's recipe, to be compared with or read, not to be acted by. Raises RecipeError: it is none."""
    return _loaded(str(path), read_layers(path), ())[0]


def _loaded(
    name: str,
    layers: Sequence[Layer],
    overrides: Sequence[str],
    *,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe, and the mapping that became it."""
    given = with_overrides({}, overrides)
    if EXTENDS in given:
        raise RecipeError(
            f"{EXTENDS}: {given[EXTENDS]!r}: belongs in a recipe file: write it there, or name that recipe "
            f"instead of {name}"
        )
    data, left_out = _assembled(layers, given)
    source = name if SHIPPED in layers[-1].path.parents else layers[-1].source
    data = with_overrides(data, overrides)
    recipe = validated(Recipe, data, source=source, overrides=overrides)
    refuse_keys(data, source=source)
    for line in [*left_out, *recipe.doubts]:
        say(line)
    return recipe, data


def _assembled(layers: Sequence[Layer], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The layers as what is `given` over them needs them; and a line for each thing left out of them."""
    data, left_out = merged(layers, method=given.get("method"))
    data, of_other_kinds = without_other_kinds(data, given)
    return data, [*left_out, *of_other_kinds]


def recipe_yaml(recipe: Recipe) -> str:
    """The recipe with every default, as a file that `load_recipe` reads back as an equal recipe."""
    data = recipe.model_dump(mode="json")
    for section, value in data.items():
        if isinstance(value, dict):
            data[section] = dict(sorted(value.items(), key=lambda item: item[0] not in ("kind", "source")))
    text = redacted(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=80))
    if text == spelled_out(text, kept="\n"):
        return text
    # YAML's own way of spelling out what cannot be shown is read back as it was.
    return redacted(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=80))


def _fill_in_imported(data: dict[str, Any]) -> None:
    """Lay under a recipe of trajectories from elsewhere that all are kept, and that nothing is evaluated."""
    section, evaluation = data.get("data"), data.get("evaluation")
    if not isinstance(section, dict) or section.get("messages") is None:
        return
    data["data"] = {"filter": "all", **section}
    if "tasks" in data or not isinstance(evaluation or {}, dict):
        return
    if (asked := (evaluation or {}).get("tasks")) not in (None, 0):
        raise ValueError(
            f"evaluation.tasks: {asked!r}: data.messages names no tasks to evaluate on: name some too, such as "
            "tasks.path=tasks.jsonl or tasks.source=minirepo, or leave it out"
        )
    data["evaluation"] = {**(evaluation or {}), "tasks": 0}


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def _laid_under(given: Any, brought: MixtureSettings | ObjectiveSettings) -> Any:
    """What is given of a section, on what the method says of it, where both are of one kind."""
    if given is None or given == {}:
        return brought.model_dump()
    if not isinstance(given, dict) or given.get("kind", brought.kind) != brought.kind:
        return given
    return {"kind": brought.kind, **brought.model_dump(exclude_unset=True), **given}


def _wrong_method(name: Any) -> str:
    wrong = "not given" if name is None else f"{shown(name)} is not known"
    close = meant_value(str(name), list(METHODS))
    hint = f"; did you mean {close!r}?" if close else ""
    return f"method: {wrong}: use one of {', '.join(METHODS)}{hint}"
