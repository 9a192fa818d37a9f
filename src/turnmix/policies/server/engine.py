"""The seam between a student's server and the engine that runs in it.

In: weights, a prompt, how to sample. Out: a command line, the JSON of requests, what an answer holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from turnmix.core.errors import InfrastructureError
from turnmix.policies.server.control import ServerControl
from turnmix.policies.server.settings import EngineName


class RenewalError(InfrastructureError):
    """The server did not take the weights, and may hold old ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What the server is to act with."""

    location: str
    """All weights, LoRA merged into them: a directory in Hugging Face format, or a hub id."""
    base: str
    """The model before any training."""
    adapter: str | None = None
    """The matrices of LoRA, which belong on `base`, in a directory as peft writes it; None before training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSampling:
    """How tokens are drawn."""

    temperature: float
    top_p: float
    greedy: bool
    stop_ids: tuple[int, ...]
    """Tokens that end a turn."""
    stop_texts: tuple[str, ...] = ()
    """Texts that end this answer, for a server that can see them: it samples no more than is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a server answered."""

    text: str
    """Less the token that ended it."""
    token_ids: tuple[int, ...] | None
    """As sampled, the last one among them; None: the engine does not tell. So too below."""
    logprobs: tuple[float | None, ...] | None
    """log π(token); None also for a single token."""
    was_cut: bool
    """It reached the limit of new tokens before its end."""
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None = None


class Engine(Protocol):
    """One kind of inference server."""

    name: EngineName
    most_requests: int | None
    """How many requests it may get at once; None: any number."""
    tells_tempered_logprobs: bool
    """Must log π of sampled tokens be told at the temperature at which they were sampled?"""
    environment: Mapping[str, str]
    """Variables that a started server needs."""
    key_variable: str | None
    """The variable that tells a started server which key to ask for; None: it asks for none."""
    least_version: tuple[int, int] | None
    """An older one cannot do what a run needs; None: none is known."""

    starts_with_weights: bool
    """Does a server that is started hold the weights at once? If not, starting it again is no way to give it others."""

    def command(self, weights: Weights, *, port: int) -> list[str]:
        """The arguments behind the program's name that serve the student on this machine."""
        ...

    def renew(self, control: ServerControl, weights: Weights, *, timeout: float) -> str:
        """Have the server act with `weights` and forget what it cached of others; the model's name from now on.

        Raises:
            RenewalError: it did not.
        """
        ...

    def completion_request(
        self, *, prompt_ids: list[int], prompt_text: str, limit: int, seed: int, sampling: ServerSampling
    ) -> dict[str, Any]:
        """The JSON of a request to /completions, but for the model's name. `limit`: new tokens at most."""
        ...

    def read_completion(self, body: bytes) -> Completion:
        """Raises MalformedAnswer."""
        ...

    def prompt_logprobs(
        self, control: ServerControl, model: str, prompt_ids: list[int]
    ) -> list[float | None] | None:
        """Log π of each token of a prompt but the first; None: the engine does not tell, also for a single token.

        Raises:
            RenewalError: it was asked and did not answer.
        """
        ...

    def version(self, control: ServerControl) -> str | None:
        """The version of the program that runs; None: it does not tell."""
        ...

    def context(self, control: ServerControl, model: str) -> int | None:
        """The longest conversation that the server takes, in tokens; None: it does not tell."""
        ...
