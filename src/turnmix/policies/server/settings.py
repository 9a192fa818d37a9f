"""What a user configures of the server that the student acts through; importing it loads no HTTP client."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from turnmix.core.settings import NAMES
from turnmix.policies.endpoint.settings import AskingSettings, check_names_variable

EngineName = Literal["vllm", "transformers"]
GIVES_TOKENS: dict[EngineName, bool] = {"vllm": True, "transformers": False}
"""Does the engine return the token ids that it sampled, and their log-probabilities?"""


_WHERE = re.compile(r"--(host|port|uds|fd)(=|$)")
"""Arguments that say where a server listens."""
_KEY = re.compile(r"--([\w-]*[_-])?(api-key|key|token|password|secret)(=|$)", re.IGNORECASE)
"""Arguments that hold a key, which every user of the machine could read in the list of processes."""
_ABOUT_TOKENS = re.compile(
    r"--([\w-]*-)?(eos|bos|pad|stop|end|start|image|mask|max|min)-token(=|$)", re.IGNORECASE
)


class ServerSettings(AskingSettings):
    """An inference server, started for the run or running already."""

    secret_fields: ClassVar[frozenset[str]] = AskingSettings.secret_fields | {
        "arguments",
        "inherited_environment",
    }

    engine: EngineName = "vllm"
    """`vllm`, or `transformers` (transformers serve), which returns neither token ids nor log-probabilities."""
    endpoint: str | None = None
    """The base URL of a server that runs already, such as http://localhost:8000/v1; left out, one is started
    here for the run. It must see the run directory under the same path, to read checkpoints."""
    api_key_environment: str | None = Field(default=None, min_length=1)
    """The environment variable that holds the key of the server at `endpoint`; left out, none is sent. A started server
    gets a random one, where its engine takes any."""
    model: str | None = Field(default=None, min_length=1)
    """The student's name at `endpoint`; left out, `student.model`."""
    program: str | None = None
    """The engine's program, for one in an environment of its own; left out, `vllm` or `transformers` beside
    this Python or on the PATH."""
    arguments: tuple[str, ...] = ()
    """Further arguments of the program, such as --gpu-memory-utilization=0.5."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Further variables of the program, such as CUDA_VISIBLE_DEVICES. Stored with the run."""
    inherited_environment: Annotated[tuple[str, ...], NAMES] = ()
    """Variables of your own environment that the program gets too, by name, such as HF_TOKEN. Left out, it gets those
    alone that say where things lie and how to compute (PATH, HOME, CUDA_*, VLLM_*, HF_HOME, …), and no key."""
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
        for argument in arguments:
            if _WHERE.match(argument):
                raise ValueError(
                    f"{argument.partition('=')[0]}: a started server listens on this machine alone, at "
                    "student.server.port: leave it out"
                )
            if _KEY.match(argument) and not _ABOUT_TOKENS.match(argument):
                raise ValueError(
                    f"{argument.partition('=')[0]}: all users of this machine see a key in arguments, and a started "
                    "server has one of its own: leave it out, or name a variable that holds it in "
                    "student.server.inherited_environment"
                )
        return arguments

    @field_validator("inherited_environment")
    @classmethod
    def _check_inherited(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            check_names_variable(name)
        return names

    @model_validator(mode="after")
    def _check_who_starts_it(self) -> ServerSettings:
        if self.endpoint is None and self.model is not None:
            raise ValueError("model names the student at an endpoint: give the endpoint too, or leave it out")
        if self.engine == "transformers" and self.model is not None:
            raise ValueError("transformers serve names a model by its directory or hub id: leave model out")
        if self.endpoint is None and self.api_key_environment is not None:
            raise ValueError(
                "api_key_environment is for a server at endpoint: leave it out: a started one gets a random key"
            )
        own = ("program", "arguments", "environment", "inherited_environment", "port")
        given = [name for name in own if getattr(self, name)]
        if self.endpoint is not None and given:
            raise ValueError(
                f"{given[0]} is for a server that TurnMix starts: leave it out, or leave endpoint out"
            )
        return self
