"""Where TurnMix keeps, for this user and apart from everything that comes from elsewhere, what was made here."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """`$XDG_STATE_HOME/turnmix`, else `~/.local/state/turnmix`; it may not be there yet.

    Raises:
        RuntimeError: there is no home.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state") / "turnmix"
