"""The recipe: everything a run depends on, composed of the settings of its parts.

In: a recipe's name or path and `key=value` overrides. Out: a `Recipe` with every default filled in, also
those that its method sets. Two equal recipes give equal runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationInfo, model_validator

from turnmix.cluster.settings import ClusterSettings
from turnmix.core.doors import is_read, plugin_names
from turnmix.core.errors import RecipeError
from turnmix.core.message import ToolSpecification
from turnmix.core.printable import spelled_out
from turnmix.core.redaction import redacted
from turnmix.core.settings import Settings
from turnmix.environments.environment import TaskSettings
from turnmix.environments.minirepo.source import MinirepoSettings
from turnmix.methods.agreement import Choices, check_agreement, doubts
from turnmix.methods.registry import find_method, known_method
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.policies.teacher import TeacherSettings
from turnmix.recipe.defaults import with_defaults
from turnmix.recipe.foreign_scaffold import check_foreign_scaffold, without_effect
from turnmix.recipe.found_recipe import FOUND, unsaid
from turnmix.recipe.layers import EXTENDS, Layer, merged, read_layers, without_other_kinds
from turnmix.recipe.needs import check_accidents, check_imported, check_needs
from turnmix.recipe.recipe_file import SHIPPED, find_recipe, hides_shipped, validated, with_overrides
from turnmix.recipe.sections import (
    MIXTURE,
    OBJECTIVE,
    TASKS,
    TEACHERS,
    CheckpointSettings,
    DataSettings,
    EvaluationSettings,
    RolloutSettings,
    TrackerNames,
)
from turnmix.recipe.typed_keys import refuse_keys
from turnmix.rollout.mixture import MixtureSettings
from turnmix.sandboxes.selection import SANDBOXES, BubblewrapSettings
from turnmix.sandboxes.settings import SandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.store.made_here import is_made_here
from turnmix.teachers.oracle import OracleSettings
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective_settings import ObjectiveSettings


class Recipe(Settings):
    """One run."""

    method: str
    """What is trained how: sft, grpo, opd, dagger, aggrevate, oec, on_policy_labels, guided_opd, tcod_forward,
    tcod_backward, reopd or gkd, or a method of your own, package.module:NAME. It brings mixture, data.filter,
    rollouts.samples_per_task and objective."""
    seed: int = Field(default=0, ge=0)
    """Seeds all that is drawn in the run."""
    iterations: int = Field(default=5, ge=1)
    """Rounds of rollouts and learning."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of tensor code. 1 is best for nano models."""
    trackers: TrackerNames = ()
    """Where figures go beside tensorboard: wandb, or others of accelerate's, or package.module:Name, of your own."""
    tasks: Annotated[TaskSettings, TASKS] = MinirepoSettings()
    """Which tasks."""
    sandbox: Annotated[SandboxSettings, SANDBOXES] = BubblewrapSettings()
    """Where the agent's commands run."""
    scaffold: ScaffoldSettings = ScaffoldSettings()
    """The agent's tools and budgets."""
    student: StudentSettings = StudentSettings()
    """Who learns, and acts."""
    teacher: Annotated[TeacherSettings, TEACHERS] = OracleSettings()
    """Who teaches."""
    mixture: Annotated[MixtureSettings, MIXTURE]
    """Who acts; left out, the method's own."""
    rollouts: RolloutSettings = RolloutSettings()
    """How trajectories are collected."""
    data: DataSettings
    """What is trained on."""
    objective: Annotated[ObjectiveSettings, OBJECTIVE]
    """With which loss; left out, the method's own."""
    learner: LearnerSettings = LearnerSettings()
    """How it is learned."""
    checkpoints: CheckpointSettings = CheckpointSettings()
    """What is kept on the disk."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How progress is measured."""
    cluster: ClusterSettings | None = None
    """On which machines; left out, on this one alone, in one process."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any, info: ValidationInfo) -> Any:
        """Lay the method's choices under what is given."""
        is_mapping = isinstance(given, dict)
        return with_defaults(given, known=cls.model_fields, info=info) if is_mapping else given

    @property
    def asks_teacher(self) -> bool:
        """Does the teacher act or label? Else it scores at most."""
        method = known_method(self.method)
        labels = method is None or method.label is not False
        return self.data.messages is None and (labels or self.mixture.asks_teacher)

    @property
    def acts(self) -> bool:
        """Does anyone act, in rollouts or evaluations?"""
        return self.data.messages is None or self.evaluation.tasks > 0

    @property
    def uses_scaffold(self) -> bool:
        """Has the agent the scaffold's tools? A world without a sandbox has its own, and so has a scaffold of the
        user's."""
        return self.tasks.needs_sandbox and self.rollouts.scaffold is None

    @property
    def offered_tools(self) -> tuple[ToolSpecification, ...]:
        """The agent's tools, as far as the recipe says them."""
        return self.scaffold.specifications if self.uses_scaffold else ()

    @property
    def conversation_limit(self) -> int | None:
        """Tokens of the longest conversation, without its last answer; None: the tasks' world alone knows."""
        return self.scaffold.max_tokens if self.uses_scaffold or self.rollouts.scaffold else None

    @property
    def longest_context(self) -> int:
        """Tokens of the longest conversation with the student's longest answer."""
        return self.scaffold.max_tokens + self.student.max_new_tokens

    @model_validator(mode="after")
    def _check_tool_calls(self, info: ValidationInfo) -> Recipe:
        """A teacher such as the oracle calls tools natively, and reads its own calls back."""
        calls_as_text = self.scaffold.tool_calls == "text" and not self.teacher.writes_text_calls
        if calls_as_text and is_read(self, info) and self.asks_teacher:
            raise ValueError(
                f"scaffold.tool_calls: 'text': the {self.teacher.title} writes no calls as text: leave it at native, "
                "or give another teacher"
            )
        return self

    @model_validator(mode="after")
    def _check_rollouts(self) -> Recipe:
        """What comes from elsewhere is not rolled out; what is can have its accidents."""
        check_imported(method=self.method, data=self.data)
        calls_as_text = self.uses_scaffold and self.scaffold.tool_calls == "text"
        check_accidents(self.rollouts.accidents, data=self.data, calls_as_text=calls_as_text)
        check_foreign_scaffold(
            self.rollouts, self.evaluation, scaffold=self.scaffold, tasks=self.tasks, sandbox=self.sandbox
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
        of_method = [] if known_method(self.method) is None else list(doubts(self._choices))
        return [*of_method, *without_effect(self.rollouts, self.scaffold)]

    @model_validator(mode="after")
    def _check_method(self, info: ValidationInfo) -> Recipe:
        """It does what its method's name says."""
        if is_read(self, info):
            check_agreement(self._choices)
        return self

    @model_validator(mode="after")
    def _check_objective(self, info: ValidationInfo) -> Recipe:
        """Student and teacher can give what the objective needs."""
        if is_read(self, info):
            check_needs(
                method=self.method, objective=self.objective, student=self.student, teacher=self.teacher
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
    if not any(layer.is_found for layer in layers):
        recipe, _ = _loaded(name, layers, overrides, say=say)
    else:
        own, _ = _assembled([layer.without_powerful() for layer in layers], with_overrides({}, overrides))
        own = with_overrides(own, overrides)
        recipe, data = _loaded(name, layers, overrides, say=say, imported=plugin_names(own))
        if lines := unsaid(recipe, data, own, unused=unused):
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


def stored_recipe(path: Path, *, imported: Collection[str] = ()) -> Recipe:
    """A run's recipe, to be compared with or read, not to be acted by. Of its plugins those alone are imported whose
    names are given; what is said of the others stays as it was stored. Raises RecipeError: it is none."""
    return _loaded(str(path), read_layers(path), (), imported=imported)[0]


def _loaded(
    name: str,
    layers: Sequence[Layer],
    overrides: Sequence[str],
    *,
    say: Callable[[str], None] = lambda line: None,
    imported: Collection[str] | None = None,
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe, and the mapping that became it. `imported`: the plugins that may be; None: all."""
    given = with_overrides({}, overrides)
    if EXTENDS in given:
        raise RecipeError(
            f"{EXTENDS}: {given[EXTENDS]!r}: belongs in a recipe file: write it there, or name that recipe "
            f"instead of {name}"
        )
    data, left_out = _assembled(layers, given)
    source = name if SHIPPED in layers[-1].path.parents else layers[-1].source
    data = with_overrides(data, overrides)
    recipe = validated(Recipe, data, source=source, overrides=overrides, imported=imported)
    refuse_keys(data, source=source)
    is_whole = imported is None or plugin_names(recipe) <= {*imported}
    for line in [*left_out, *(recipe.doubts if is_whole else ())]:
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


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)
