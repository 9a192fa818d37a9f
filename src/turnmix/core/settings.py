"""The base of every settings class. A settings class stands beside the class it configures; a recipe composes them."""

from __future__ import annotations

import types
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


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

    @model_validator(mode="before")
    @classmethod
    def _switches_are_no_numbers(cls, given: Any) -> Any:
        """YAML reads `yes` as true, which would count as 1: as a word it is refused where a number is wanted."""
        if not isinstance(given, dict):
            return given
        return {
            name: str(value).lower() if isinstance(value, bool) and cls._wants_number(name) else value
            for name, value in given.items()
        }

    @classmethod
    def _wants_number(cls, name: Any) -> bool:
        field = cls.model_fields.get(name)
        may_be = set() if field is None else _plain_types(field.annotation)
        return bool(may_be & {int, float}) and bool not in may_be


def _plain_types(annotation: Any) -> set[Any]:
    """The types of which a value of this type may be one."""
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return {found for each in get_args(annotation) for found in _plain_types(each)}
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    return {annotation} if isinstance(annotation, type) else set()
