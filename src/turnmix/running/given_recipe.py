"""A recipe as it may be given: by path or bare name, as a mapping, or already made.

In: one of these, and overrides. Out: a `Recipe`, and what it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnmix.core.errors import UserError
from turnmix.recipe.recipe import Recipe, load_recipe, recipe_of
from turnmix.recipe.recipe_file import find_recipe

RecipeLike = str | os.PathLike[str] | Mapping[str, Any] | Recipe
"""A path, a bare name such as `minirepo_dagger`, a mapping as a recipe file holds one, or a recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenRecipe:
    """One that is not loaded yet."""

    name: str
    """As it was given; of one that was made in Python, its method's."""
    found: Recipe | Mapping[str, Any] | None = None
    """None: it is found by its name."""
    is_of_run: bool = False
    """A run was named, not its recipe."""

    @classmethod
    def of(cls, recipe: RecipeLike) -> GivenRecipe:
        if isinstance(recipe, Recipe):
            return cls(name=recipe.method, found=recipe)
        if isinstance(recipe, Mapping):
            return cls(name=str(recipe.get("method") or "recipe"), found=recipe)
        if not isinstance(recipe, str | os.PathLike):
            raise UserError(
                f"recipe: {recipe!r:.100}: give a path, a bare name such as 'minirepo_dagger', a mapping, or a Recipe"
            )
        return cls(name=os.fspath(recipe))

    @classmethod
    def of_run(cls, name: str) -> GivenRecipe:
        return cls(name=name, is_of_run=True)

    @property
    def stem(self) -> str:
        """What directories are called after it."""
        return find_recipe(self.name).stem if self.found is None else self.name

    def load(
        self,
        overrides: Sequence[str] = (),
        *,
        say: Callable[[str], None] = lambda line: None,
        unused: Sequence[str] = (),
    ) -> Recipe:
        """With `overrides` laid over it; `say` and `unused` as of `load_recipe`. Raises RecipeError."""
        if isinstance(overrides, str | Mapping) or not all(isinstance(each, str) for each in overrides):
            raise UserError(
                f"overrides: {overrides!r:.100}: give a list of texts such as ['learner.epochs=1']"
            )
        if self.found is None:
            return load_recipe(self.name, overrides, say=say, unused=unused, is_of_run=self.is_of_run)
        if not isinstance(self.found, Recipe):
            return recipe_of(self.found, overrides, say=say)
        if overrides:
            raise UserError(
                "overrides: this recipe is loaded already: give them to turnmix.load_recipe, or give the recipe's name"
            )
        return self.found
