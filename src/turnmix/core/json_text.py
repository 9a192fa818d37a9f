"""Values enter, JSON leaves. Python's own writer says NaN and Infinity, which no JSON reader has to take.

>>> json_text({"loss": float("nan"), "counts": [1, float("-inf")]})
'{"loss": null, "counts": [1, null]}'
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnmix.core.errors import UserError


def json_text(value: Any, **options: Any) -> str:
    """`value` as JSON; `options` are those of `json.dumps`. A number that is not finite becomes null."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_without_non_finite(value), allow_nan=False, **options)


def read_json_file(path: Path, *, fix: str) -> dict[str, Any]:
    """The object in a file of TurnMix's own. Raises UserError, with the `fix`: it is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}): {fix}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no JSON object: {fix}")
    return data


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _without_non_finite(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(member) for member in value]
    return value
