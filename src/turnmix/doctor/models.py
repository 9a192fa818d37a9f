"""Can the student's template be taught with, and is its context long enough? By its small files alone.

What is not on this machine yet is asked of the hub once, briefly; weights are not fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from turnmix.assembly.model_location import model_location
from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.core.hub import fetch_elsewhere, hub_problem
from turnmix.core.json_text import MOST_BYTES, json_value
from turnmix.policies.local import model_files
from turnmix.recipe.recipe import Recipe


def check_models(recipe: Recipe) -> Iterator[Finding]:
    name = recipe.student.model
    try:
        location = model_location(name, field="student.model")
    except UserError as error:
        yield Finding(subject="student", passed=False, detail=str(error))
        return
    if cached_file(location, "tokenizer_config.json") is None and (problem := hub_problem(location)):
        yield Finding(
            subject="student",
            passed=False,
            detail=f"student.model: {name} is not on this machine, and {problem}: {fetch_elsewhere(name)}",
        )
        return
    # Imported here: it takes seconds, and is not needed where the model is not there.
    from turnmix.policies.local.loading import load_renderer

    try:
        _, renderer = load_renderer(location, tool_calls=recipe.scaffold.tool_calls)
    except UserError as error:
        yield Finding(subject="template", passed=False, detail=str(error))
        return
    from turnmix.rendering.check import check_tools

    try:
        check_tools(renderer, recipe.offered_tools)
    except UserError as error:
        yield Finding(subject="tools", passed=False, detail=str(error))
    calls = f"{renderer.format.name} calls" if renderer.tool_calls == "native" else "calls as text"
    detail = f"{name}: tools, answers and turns survive its template ({calls})"
    yield Finding(subject="template", passed=True, detail=detail)
    yield from _context_findings(recipe, location)


def _context_findings(recipe: Recipe, location: str) -> Iterator[Finding]:
    path = cached_file(location, "config.json")
    context = (
        None
        if path is None
        else json_value(read_bounded(path, most=MOST_BYTES)).get("max_position_embeddings")
    )
    if not recipe.acts:
        return
    needed = recipe.conversation_limit
    if context is None:
        yield Finding(subject="context", passed=None, detail="student.model does not tell its context")
    elif needed is None:
        detail = f"{recipe.student.model} reads {context:,} tokens; the tasks say how long a conversation is"
        yield Finding(subject="context", passed=True, detail=detail)
    elif context < needed:
        yield Finding(
            subject="context",
            passed=False,
            detail=f"scaffold.max_tokens = {needed:,}: {recipe.student.model} reads {context:,} tokens: set it to "
            f"{context}, or lengthen the model's context (rope scaling in its config.json)",
        )
    else:
        detail = f"{recipe.student.model} reads {context:,} tokens, of which {needed:,} are used"
        yield Finding(subject="context", passed=True, detail=detail)


def cached_file(model: str, name: str) -> Path | None:
    """A small file of a model, as a recipe names it; None: it is not on this machine."""
    try:
        location = model_location(model, field="student.model")
    except UserError:
        return None
    return model_files.cached_file(location, name)
