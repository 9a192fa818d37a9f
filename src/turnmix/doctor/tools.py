"""What are the agent's tools, and can each of them work here?"""

from __future__ import annotations

from collections.abc import Iterator

from turnmix.core.doors import findings_of
from turnmix.core.finding import Finding
from turnmix.recipe.recipe import Recipe
from turnmix.scaffold.tool_call import signature


def check_tools(recipe: Recipe) -> Iterator[Finding]:
    if (chosen := recipe.rollouts.scaffold) is not None:
        yield Finding(subject="tools", passed=True, detail=f"those of a scaffold of your own ({chosen.kind})")
        yield from findings_of(chosen)
        return
    if not recipe.uses_scaffold:
        yield Finding(subject="tools", passed=True, detail="these tasks bring their own")
        return
    for tool in recipe.scaffold.tools:
        specification = tool.specification
        of = f" ({tool.kind})" if tool.kind != specification.name else ""
        yield Finding(subject=specification.name, passed=True, detail=f"{signature(specification)}{of}")
        yield from findings_of(tool)
