"""Would the hub give a model or a set of tasks? Asked once, briefly, before its own client tries for a minute.

Enters: a hub id. Leaves: why not, and where this machine keeps what the hub gave before.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from turnmix.core.errors import UserError
from turnmix.core.redaction import keep_secret

HUB_SECONDS = 3.0
HUB_ID = re.compile(r"([\w.-]+/)?[\w.-]+")


def hub_problem(name: str, *, kind: Literal["model", "dataset"] = "model") -> str:
    """Why the hub would not give it; empty: it would, or its client says more, or `name` is no hub id."""
    import httpx
    from huggingface_hub import get_token

    if Path(name).is_dir() or not HUB_ID.fullmatch(name):
        return ""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    path = f"{name}/resolve/main/config.json" if kind == "model" else f"api/datasets/{name}"
    token = get_token()
    keep_secret(token or "")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.head(f"{hub}/{path}", headers=headers, timeout=HUB_SECONDS, follow_redirects=True)
    # A proxy variable that httpx cannot use is an ImportError or a ValueError.
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError) as error:
        return f"the hub cannot be reached ({error or type(error).__name__})"
    if answer.status_code in (401, 403, 404):
        return f"the hub has no such {kind}, or not for you (HTTP {answer.status_code})"
    return f"the hub answers HTTP {answer.status_code}" if answer.status_code >= 500 else ""


def model_to_load(name: str, *, field: str) -> str:
    """The name itself, or, where the hub would not give it, the directory in which it lies from before. `field` is
    where the recipe gives the name.

    Raises:
        UserError: there is none.
    """
    if not (problem := hub_problem(name)):
        return name
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(name, local_files_only=True))
    except OSError:
        raise UserError(
            f"{field}: {name} is not on this machine, and {problem}: {fetch_elsewhere(name)}"
        ) from None


def fetch_elsewhere(name: str) -> str:
    """What to do about a model that the hub does not give."""
    return f"fetch it where there is a network (hf download {name}), or give its directory"
