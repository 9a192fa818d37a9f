"""The columns that task sets share, as untrusted text: lists, or lists given as JSON strings; patches; names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from turnmix.core.json_text import json_value

CONDA = "source /opt/miniconda3/bin/activate && conda activate testbed"
"""Makes the environment of the images of SWE-bench and its kin the current one."""
ROOT = "/testbed"


def read_names(value: Any) -> list[str]:
    """Test names from a list, or from a JSON string that holds one. Never an empty list for what is unreadable.

    >>> read_names('["a", "b"]'), read_names(["c"])
    (['a', 'b'], ['c'])
    """
    if isinstance(value, str):
        try:
            value = json_value(value)
        except ValueError:
            raise ValueError("neither a list nor a JSON string of one") from None
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("not a list of test names")
    return list(dict.fromkeys(value))


def read_object(value: Any) -> Any:
    """An object, also one given as a JSON string."""
    if not isinstance(value, str):
        return value
    try:
        return json_value(value)
    except ValueError:
        raise ValueError("neither an object nor a JSON string of one") from None


def _filled(names: list[str]) -> list[str]:
    if not names:
        raise ValueError("is empty: a patch that does nothing would count as resolved")
    return names


Names = Annotated[list[str], BeforeValidator(read_names)]
SomeNames = Annotated[list[str], BeforeValidator(lambda value: _filled(read_names(value)))]
Text = Annotated[str, StringConstraints(min_length=1)]
Patch = Annotated[str, Field(pattern=r"(?m)^(diff --git |--- )")]
"""A diff: git's own, or a plain unified one."""


class Row(BaseModel):
    """A row of a published set. Columns that no adapter reads are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


def without(names: list[str], others: list[str]) -> tuple[str, ...]:
    """Those of `names` that are not in `others`."""
    return tuple(name for name in names if name not in set(others))


def image_tag(instance_id: str, separator: str) -> str:
    """An instance's id as its image's name has it: registries know lower case alone.

    >>> image_tag("Project-MONAI__MONAI-1000", "_s_")
    'project-monai_s_monai-1000'
    """
    return instance_id.replace("__", separator).lower()
