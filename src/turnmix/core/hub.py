"""Would the hub give a model or a set of tasks? Asked once, briefly, before its own client tries for a minute.

In: a hub id. Out: why not, and where this machine keeps what the hub gave before.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from turnmix.core.errors import UserError
from turnmix.core.redaction import keep_secret

HUB_SECONDS = 3.0
HUB_ID = re.compile(r"([\w.-]+/)?[\w.-]+")


def hub_problem(name: str, *, kind: Literal["model", "dataset"] = "model") -> str:
    """Why the hub would not give it; empty: it would, or its client says more, or `name` is no hub id."""
    from huggingface_hub import HfApi, get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

    if Path(name).is_dir() or not HUB_ID.fullmatch(name):
        return ""
    keep_secret(get_token() or "")
    try:
        if kind == "model":  # of a model that is shown to all and given to some, the file alone is refused
            get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=HUB_SECONDS)
        else:
            HfApi().dataset_info(name, timeout=HUB_SECONDS)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except EntryNotFoundError:  # there is a repository, of which transformers says more
        return ""
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403, 404):
            return f"the hub has no such {kind}, or not for you (HTTP {status})"
        return f"the hub answers HTTP {status}" if status >= 500 else ""
    except (
        Exception
    ) as error:  # of the HTTP client that the library has chosen, or of a proxy that it cannot use
        return f"the hub cannot be reached ({error or type(error).__name__})"
    return ""


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
