"""What a comparison file says: which arms are run with which seeds, what is measured, and how it is decided.

In: a YAML file, or a mapping as one holds it. Out: `ComparisonSettings`, each mistake one line that names the field.
They are fixed before the first run: a sweep keeps the file's digest.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, StrictInt, field_validator, model_validator

from turnmix.analysis.instruments import INSTRUMENTS
from turnmix.analysis.outcomes import OUTCOMES
from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import RecipeError, UserError
from turnmix.core.settings import Settings
from turnmix.core.yaml_text import yaml_value
from turnmix.recipe.mistakes import nearest
from turnmix.recipe.recipe_file import MOST_BYTES, read_recipe, validated
from turnmix.store.made_here import is_made_here
from turnmix.store.sweep_directory import COMPARISON, RECORD, read_comparison_text, read_sweep

_ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}")
Bounds = tuple[float | None, float | None]
"""From the first to the second, both included; null: no bound."""


class AnalysisSettings(Settings):
    """How each run is analysed once it is trained."""

    tasks: int | None = Field(default=None, ge=1)
    """Holdout tasks; left out, the recipe's evaluation.tasks."""
    checkpoints: Literal["last", "all"] | tuple[int, ...] = "last"
    """Of which iterations: last, all, or a list such as [0, 2, 4], where 0 is the base student."""
    instruments: tuple[str, ...] = Field(default=("divergence", "accidents"), min_length=1)
    """What is measured, as `turnmix analyse --instruments` names it."""
    overrides: tuple[str, ...] = ()
    """Changes to each run's recipe for its analysis alone, such as one teacher who labels the states of all arms."""

    @field_validator("instruments")
    @classmethod
    def _check_instruments(cls, instruments: tuple[str, ...]) -> tuple[str, ...]:
        for name in instruments:
            if name not in INSTRUMENTS:
                known = [*INSTRUMENTS]
                raise ValueError(
                    f"{name!r} is no instrument: use some of {', '.join(known)}{nearest(name, known)}"
                )
        return instruments


class Criterion(Settings):
    """One condition of the decision; all that it says must hold. Differences are the second arm's value less the
    first's, and shares run from 0 to 1."""

    outcome: str
    """Of which outcome."""
    against: str | None = None
    """The arm that takes the first arm's place in this condition; left out, the first arm."""
    direction: Literal["lower", "higher"] | None = None
    """The second arm's value is lower, or higher, than the first's."""
    in_seeds: int | None = Field(default=None, ge=1)
    """So it is in at least so many of the seeds; left out, over all of them together."""
    p_value_at_most: float | None = Field(default=None, gt=0, lt=1)
    """The p-value of the difference, not adjusted: the decision is one comparison."""
    difference: Bounds | None = None
    """The difference lies between these two."""
    values: dict[str, Bounds] = Field(default_factory=dict)
    """An arm's value lies between these two: {sft: [0, 0.03]}."""

    @model_validator(mode="after")
    def _check_says_something(self) -> Criterion:
        if self.direction is None and self.in_seeds is not None:
            raise ValueError("in_seeds: seeds of what: set direction to lower or higher")
        said = (self.direction, self.p_value_at_most, self.difference, self.values or None)
        if all(each is None for each in said):
            raise ValueError(
                "it says nothing: set direction, p_value_at_most, difference or values of this outcome"
            )
        return self


class DecisionSettings(Settings):
    """Between which two arms it is decided, and by which rule."""

    between: tuple[str, str]
    """Two arms."""
    rule: str = Field(min_length=1)
    """The rule in words, for readers."""
    criteria: tuple[Criterion, ...]
    """The same as numbers, which are checked: the rule holds if all of them do."""
    expected: str = ""
    """What was expected, in words, before it was run."""

    @property
    def arms(self) -> list[str]:
        """All that it looks at."""
        others = [each.against for each in self.criteria if each.against is not None]
        return [*dict.fromkeys((*self.between, *others))]


class ComparisonSettings(Settings):
    """Arms × seeds of one recipe."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$")
    """What it is called; the directory below runs/ too."""
    about: str = ""
    """What is asked, in words."""
    recipe: str
    """The recipe of all arms: a path, relative to this file or to the current directory, or a bare name."""
    overrides: tuple[str, ...] = ()
    """Changes to it in all arms, such as tasks.seed=1."""
    arms: dict[str, tuple[str, ...]] = Field(min_length=1)
    """Name -> changes in this arm alone."""
    seeds: tuple[StrictInt, ...] = (0,)
    """Each arm is run once with each."""
    reference: str | None = None
    """The arm that the others are compared with; left out, the first."""
    analysis: AnalysisSettings | None = None
    """What is measured after training; left out, nothing but what the runs' own evaluations show."""
    outcomes: tuple[str, ...] = Field(default=("resolved",), min_length=1)
    """What is compared, always together."""
    decision: DecisionSettings | None = None
    """Left out: nothing is decided, all is described."""

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds:
            raise ValueError("give one seed or more")
        if any(seed < 0 for seed in seeds):
            raise ValueError("a seed is 0 or more")
        if len({*seeds}) < len(seeds):
            raise ValueError("a seed is given twice: keep one")
        return seeds

    @field_validator("outcomes")
    @classmethod
    def _check_outcomes(cls, outcomes: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in outcomes if name not in OUTCOMES]:
            known = [*OUTCOMES]
            raise ValueError(
                f"{unknown[0]!r} is no outcome: use some of {', '.join(known)}{nearest(unknown[0], known)}"
            )
        return outcomes

    @field_validator("arms")
    @classmethod
    def _check_arms(cls, arms: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in arms:
            if _ARM_NAME.fullmatch(name) is None:
                raise ValueError(
                    f"{name!r:.60} names a directory: write letters, digits and _ . + - only, 40 at most"
                )
        if len({name.lower() for name in arms}) < len(arms):
            raise ValueError("two arms' names differ by capitals alone: rename one")
        return arms

    @model_validator(mode="after")
    def _check_agreement(self) -> ComparisonSettings:
        for where, overrides in (
            ("overrides", self.overrides),
            *((f"arms.{n}", o) for n, o in self.arms.items()),
        ):
            for each in overrides:
                if each.partition("=")[0].strip() == "seed":
                    raise ValueError(f"{where}: {each!r}: leave it out: seeds says the seeds of all arms")
        self._check_arm(self.reference, "reference")
        done = () if self.analysis is None else self.analysis.instruments
        for outcome in self.outcomes:
            needed = OUTCOMES[outcome].instrument
            # Of resolved tasks a run's own evaluations tell too.
            if outcome != "resolved" and needed not in done:
                raise ValueError(
                    f"outcomes: {outcome!r} is measured by {needed}: add it to analysis.instruments"
                )
        if self.decision is not None:
            self._check_decision(self.decision)
        return self

    def _check_decision(self, decision: DecisionSettings) -> None:
        if not decision.criteria:
            raise ValueError("decision.criteria: empty: say the rule as numbers, which are checked")
        for place, name in enumerate(decision.between):
            self._check_arm(name, f"decision.between.{place}")
        if decision.between[0] == decision.between[1]:
            raise ValueError("decision.between: the same arm twice: name two arms")
        for place, criterion in enumerate(decision.criteria):
            where = f"decision.criteria.{place}"
            if criterion.outcome not in self.outcomes:
                raise ValueError(
                    f"{where}.outcome: {criterion.outcome!r} is not measured: use one of "
                    f"{', '.join(self.outcomes)}, or add it to outcomes"
                )
            if (criterion.in_seeds or 0) > len(self.seeds):
                raise ValueError(
                    f"{where}.in_seeds: {criterion.in_seeds}: there are {len(self.seeds)} seeds: ask for fewer"
                )
            self._check_arm(criterion.against, f"{where}.against")
            if criterion.against == decision.between[1]:
                raise ValueError(f"{where}.against: {criterion.against!r} against itself: name another arm")
            for name in criterion.values:
                self._check_arm(name, f"{where}.values")

    def _check_arm(self, name: str | None, where: str) -> None:
        if name is not None and name not in self.arms:
            known = [*self.arms]
            raise ValueError(
                f"{where}: {name!r} is no arm: use one of {', '.join(known)}{nearest(name, known)}"
            )

    @property
    def reference_arm(self) -> str:
        if self.reference is not None:
            return self.reference
        return self.decision.between[0] if self.decision is not None else next(iter(self.arms))


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenComparison:
    """A comparison, and the text that says it."""

    comparison: ComparisonSettings
    text: bytes
    """Of the file, to the byte."""
    path: Path | None
    """None: it was no file's."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()


def read_comparison(path: Path) -> GivenComparison:
    """The comparison in a file.

    Raises:
        RecipeError: one line for each mistake.
        UserError: it came with a sweep that was not made here: its recipe and overrides speak for somebody else.
    """
    if (path.parent / RECORD).is_file() and path.name == COMPARISON and not is_made_here(path):
        raise UserError(
            f"{path} came with a sweep that you did not make on this machine, and says what is run: read it, and copy "
            "it to a place of your own"
        )
    data = read_recipe(path)
    if "arms" not in data and "method" in data:
        raise RecipeError(
            f"{path} is a recipe, not a comparison: it has no arms; put a list such as seed=0,1 behind it"
        )
    return GivenComparison(
        comparison=validated(ComparisonSettings, data, source=str(path)),
        text=read_bounded(path, most=MOST_BYTES),
        path=path,
    )


def comparison_of(data: dict[str, Any]) -> GivenComparison:
    """The comparison that a mapping says. Raises RecipeError, as above."""
    comparison = validated(ComparisonSettings, data, source="the mapping")
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return GivenComparison(comparison=comparison, text=text.encode(), path=None)


def comparison_in(sweep: Path) -> ComparisonSettings:
    """The comparison that a sweep runs, as its directory keeps it. Raises UserError: it is not that of its digest."""
    record, text = read_sweep(sweep), read_comparison_text(sweep)
    if (digest := hashlib.sha256(text).hexdigest()) != record["digest"]:
        raise UserError(
            f"{sweep / COMPARISON} is not the file that the sweep was begun with: sha256 {record['digest']} there, "
            f"{digest} here: put it back"
        )
    try:
        data = yaml_value(text.decode())
    except ValueError as error:
        raise UserError(f"{sweep / COMPARISON}: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{sweep / COMPARISON} holds no comparison: put it back")
    return validated(ComparisonSettings, data, source=str(sweep / COMPARISON))
