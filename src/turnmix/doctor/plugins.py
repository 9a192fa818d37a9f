"""Code of the user's own that a recipe names: where it comes from, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from turnmix.core.doors import findings_of, plugin_names
from turnmix.core.finding import Finding
from turnmix.core.plugin_versions import plugin_versions
from turnmix.recipe.recipe import Recipe


def check_plugins(recipe: Recipe) -> Iterator[Finding]:
    for name in sorted(plugin_names(recipe)):
        for package, version in plugin_versions([name]).items():
            yield Finding(subject=name, passed=True, detail=f"of {package}, {version}")
    # Tasks, tools and sandboxes have checks of their own.
    for settings in (recipe.mixture, recipe.objective, recipe.teacher):
        yield from findings_of(settings)
