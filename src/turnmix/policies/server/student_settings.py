"""What a user configures of the student; importing it loads no torch."""

from __future__ import annotations

from pydantic import Field

from turnmix.policies.local.settings import LocalSettings
from turnmix.policies.server.settings import GIVES_TOKENS, ServerSettings


class StudentSettings(LocalSettings):
    """The model that learns, and how it samples."""

    model: str = "nano-student"
    """`nano-student`, `nano-teacher`, `babyai-student`, a path, a run directory, or a hub id: any causal language model
    with full attention in transformers."""
    cohort_size: int = Field(default=32, ge=1)
    """Trajectories that generate together. Part of the recipe: it decides batches and so roundings."""
    server: ServerSettings | None = None
    """The inference server that the student acts through; left out, it acts in this process. It learns here."""

    @property
    def takes_tokens(self) -> bool:
        """Is a prompt given as tokens? A server that takes text reads control tokens wherever they are spelled."""
        return self.server is None or GIVES_TOKENS[self.server.engine]
