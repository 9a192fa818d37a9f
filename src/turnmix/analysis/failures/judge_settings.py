"""Who judges the trajectories that no rule decides, and how it is asked."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from turnmix.policies.endpoint.settings import EndpointSettings


class JudgeSettings(EndpointSettings):
    """A model behind an OpenAI-compatible endpoint, which names the failure mode where no rule does."""

    temperature: float | None = Field(default=0.0, ge=0)
    """Sampling temperature; null leaves it to the server."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling; null leaves it to the server."""
    max_new_tokens: int = Field(default=2048, ge=1)
    """Tokens one answer may have."""
    prompt_file: Path | None = None
    """A text file in place of the bundled prompt, with {modes} and {transcript}, and where wanted {fence}, {task},
    {solution}, {verdict} and {patch}, where these belong; other braces stay as they are."""
    max_material_characters: int = Field(default=60_000, ge=2_000)
    """Of what the judge reads of one trajectory; the middle of a longer one is left out."""
