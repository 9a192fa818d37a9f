"""The base of every settings class. A settings class stands beside the class it configures; a recipe composes them."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _as_list(given: Any) -> Any:
    return [name.strip() for name in given.split(",")] if isinstance(given, str) and given.strip() else given


NAMES = BeforeValidator(_as_list)
"""A list of names may be given as one name, or as several with commas between: `trackers=wandb`."""


class Settings(BaseModel):
    """Frozen, validated, and closed: an unknown key is an error. What a field means, for a user to read, is the
    docstring under it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    secret_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that may hold a secret: no error shows what was given for them."""
