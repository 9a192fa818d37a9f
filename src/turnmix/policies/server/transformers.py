"""`transformers serve`: prompts as text, answers as text; each checkpoint a model of its own.

It takes no token ids and returns none, nor log-probabilities, and it leaves special tokens out of its text: what
the student sampled is known as text alone, and a transition that teaches it is tokenised again. It answers one
request after the other, and its seed is the process's: so it gets one request at a time, and then the seed of
each holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.policies.endpoint.wire import read_json
from turnmix.policies.server.completion_wire import read_completion
from turnmix.policies.server.control import ServerControl, failure_of
from turnmix.policies.server.engine import Completion, RenewalError, ServerSampling, Weights
from turnmix.policies.server.settings import EngineName


class TransformersEngine:
    """Serves any model by its directory: new weights are another name, and old ones are unloaded first."""

    name: EngineName = "transformers"
    tells_tempered_logprobs = False
    most_requests: int | None = 1
    environment: Mapping[str, str] = {}
    key_variable: str | None = None
    least_version: tuple[int, int] | None = None
    starts_with_weights = False

    def __init__(self, *, device: str, dtype: str) -> None:
        self._device = device
        self._dtype = dtype

    def command(self, weights: Weights, *, port: int) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(port)]
        return ["serve", *where, "--device", self._device, "--dtype", self._dtype, "--model-timeout=-1"]

    def renew(self, control: ServerControl, weights: Weights, *, timeout: float) -> str:
        location = weights.location
        if "@" in location:
            raise RenewalError(
                f"{location}: transformers serve takes what is behind @ for a revision; name a run directory "
                "without it"
            )
        if problem := failure_of(control.send("POST", "/reset", timeout=timeout)):
            raise RenewalError(f"POST /reset: {problem}")
        reply = control.send("POST", "/load_model", {"model": location}, timeout=timeout)
        if problem := failure_of(reply):
            raise RenewalError(f"POST /load_model: {problem}")
        if problem := _loading_problem(reply.body):  # type: ignore[union-attr]
            raise RenewalError(f"POST /load_model: {problem}")
        return location

    def completion_request(
        self, *, prompt_ids: list[int], prompt_text: str, limit: int, seed: int, sampling: ServerSampling
    ) -> dict[str, Any]:
        # The model's own generation settings do not apply: a checkpoint's may sample, or not, as it likes.
        drawing = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": 0,
        }
        generation = {
            "max_new_tokens": limit,
            "eos_token_id": list(sampling.stop_ids),
            "pad_token_id": sampling.stop_ids[0],
            **({"do_sample": False} if sampling.greedy else drawing),
        }
        return {"prompt": prompt_text, "seed": seed, "generation_config": json_text(generation)}

    def read_completion(self, body: bytes) -> Completion:
        return read_completion(body, with_tokens=False)

    def prompt_logprobs(
        self, control: ServerControl, model: str, prompt_ids: list[int]
    ) -> list[float | None] | None:
        return None

    def version(self, control: ServerControl) -> str | None:
        return None

    def context(self, control: ServerControl, model: str) -> int | None:
        return None


def _loading_problem(events: bytes) -> str | None:
    """What the last of the events that tell of a loading says; None: the model is ready."""
    lines = [line.removeprefix(b"data: ") for line in events.splitlines() if line.startswith(b"data: ")]
    try:
        last = read_json(lines[-1])
        return None if last["status"] == "ready" else str(last.get("message", last))[:500]
    except (IndexError, ValueError, KeyError, TypeError):
        return f"an answer that cannot be read: {events[-200:]!r}"
