"""What a user configures of the server that the student acts through; importing it loads no HTTP client."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from turnmix.policies.endpoint_settings import AskingSettings

EngineName = Literal["vllm", "transformers"]
GIVES_TOKENS: dict[EngineName, bool] = {"vllm": True, "transformers": False}
"""Does the engine return the token ids that it sampled, and their log-probabilities?"""


class ServerSettings(AskingSettings):
    """An inference server, started for the run or running already."""

    engine: EngineName = "vllm"
    """`vllm`, or `transformers` (transformers serve), which returns neither token ids nor log-probabilities."""
    endpoint: str | None = None
    """The base URL of a server that runs already, such as http://localhost:8000/v1; left out, one is started
    here for the run. It must see the run directory under the same path, to read checkpoints."""
    model: str | None = Field(default=None, min_length=1)
    """The student's name at `endpoint`; left out, `student.model`."""
    program: str | None = None
    """The engine's program, for one in an environment of its own; left out, `vllm` or `transformers` beside
    this Python or on the PATH."""
    arguments: tuple[str, ...] = ()
    """Further arguments of the program, such as --gpu-memory-utilization=0.5."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Further variables of the program, such as CUDA_VISIBLE_DEVICES. Stored with the run."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Where a started server listens, on this machine alone; left out, a free one."""
    start_timeout_seconds: float = Field(default=900.0, gt=0)
    """For a started server until it answers, and for one renewal of its weights."""

    @field_validator("arguments")
    @classmethod
    def _check_arguments(cls, arguments: tuple[str, ...]) -> tuple[str, ...]:
        if any(argument.startswith("--continuous-batching") for argument in arguments):
            raise ValueError(
                "--continuous-batching makes every request sample as the first one did; leave it out"
            )
        return arguments

    @model_validator(mode="after")
    def _check_who_starts_it(self) -> ServerSettings:
        if self.endpoint is None and self.model is not None:
            raise ValueError("model names the student at an endpoint: give the endpoint too, or leave it out")
        if self.engine == "transformers" and self.model is not None:
            raise ValueError("transformers serve names a model by its directory or hub id: leave model out")
        given = [name for name in ("program", "arguments", "environment", "port") if getattr(self, name)]
        if self.endpoint is not None and given:
            raise ValueError(
                f"{given[0]} is for a server that TurnMix starts: leave it out, or leave endpoint out"
            )
        return self
