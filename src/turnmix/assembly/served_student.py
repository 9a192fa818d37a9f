"""A student as its server is told of it: all but its weights.

In: a recipe, and where the student lies. Out: its renderer, tokenizer and configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from turnmix.recipe.recipe import Recipe

if TYPE_CHECKING:
    from turnmix.policies.server.held_weights import Trial
    from turnmix.policies.server.verification import OwnLogprobs
    from turnmix.rendering.renderer import Renderer


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedStudent:
    """What a server is made for."""

    renderer: Renderer
    tokenizer: Any
    model_configuration: Any
    own_logprobs: OwnLogprobs | None = None
    """Of the student in this process, to which the server is held; None: it is not here."""
    trial: Trial | None = None
    """See `StudentServer`."""


def load_served_student(recipe: Recipe, *, location: str, moment: datetime | None) -> ServedStudent:
    """The student at `location`, without its weights. `moment`: what its template shows as now.

    Raises:
        UserError: it is not there, or cannot be a student.
    """
    from turnmix.policies.local.loading import load_configuration, load_renderer

    tokenizer, renderer = load_renderer(
        location,
        tool_calls=recipe.scaffold.tool_calls,
        moment=moment,
        takes_tokens=recipe.student.takes_tokens,
    )
    configuration = load_configuration(location, location=location)
    return ServedStudent(renderer=renderer, tokenizer=tokenizer, model_configuration=configuration)
