"""Who judges the trajectories that no rule decides."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, JsonValue, model_validator

from turnmix.policies.endpoint.settings import AskingSettings, EndpointSettings


class JudgeSettings(AskingSettings):
    """A model behind an OpenAI-compatible endpoint, which names the failure mode where no rule does."""

    endpoint: str | None = None
    """The base URL of the judge's endpoint, such as http://localhost:8000/v1; null: nobody is asked."""
    model: str | None = Field(default=None, min_length=1)
    """The judge's name at the endpoint."""
    temperature: float | None = Field(default=0.0, ge=0)
    """Sampling temperature; null leaves it to the server."""
    max_new_tokens: int = Field(default=2048, ge=1)
    """Tokens one answer may have."""
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of each request, laid over the usual ones; null removes one. Stored with the run."""
    prompt_file: Path | None = None
    """A text file in place of the bundled prompt, with {modes}, {fence}, {task}, {solution}, {verdict}, {patch} and
    {transcript} where these belong; other braces stay as they are."""
    max_material_characters: int = Field(default=60_000, ge=2_000)
    """Of what the judge reads of one trajectory; the middle of a longer one is left out."""

    @model_validator(mode="after")
    def _complete(self) -> JudgeSettings:
        if self.endpoint is not None and self.model is None:
            raise ValueError("model: name the judge's model at the endpoint")
        self.asked()  # what an endpoint cannot take is told now
        return self

    def asked(self) -> EndpointSettings | None:
        """The endpoint as it is asked; None: nobody is."""
        if self.endpoint is None or self.model is None:
            return None
        shared = {name: getattr(self, name) for name in AskingSettings.model_fields}
        return EndpointSettings(
            **shared,
            endpoint=self.endpoint,
            model=self.model,
            temperature=self.temperature,
            top_p=None,
            max_new_tokens=self.max_new_tokens,
            extra_body=self.extra_body,
        )
