"""The list of models. One body serves both vendors' clients: neither minds the other's fields."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any


def model_body(name: str, *, created: int) -> dict[str, Any]:
    """One model. `created`: seconds since 1970."""
    moment = datetime.fromtimestamp(created, timezone.utc).isoformat().replace("+00:00", "Z")
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "turnmix",
        "type": "model",
        "display_name": name,
        "created_at": moment,
        "lifecycle": "active",
    }


def models_body(names: Sequence[str], *, created: int) -> dict[str, Any]:
    """All of them, on one page."""
    return {
        "object": "list",
        "data": [model_body(name, created=created) for name in names],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
