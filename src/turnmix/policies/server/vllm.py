"""vLLM: prompts and answers as token ids, with log-probabilities; weights renewed while it runs.

    all weights   reload_weights, from a checkpoint's directory, into the model that it holds
    LoRA          the adapter of a checkpoint, beside the base model, which never changes

Both need switches that vLLM has off by default (`environment`). Its cache of prompts holds keys and values of
the weights as they were: it is emptied after each renewal.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from turnmix.policies.endpoint.retry import Fault
from turnmix.policies.endpoint.wire import read_body, read_json
from turnmix.policies.scoring import known_logprob
from turnmix.policies.server.completion_wire import read_completion
from turnmix.policies.server.control import ServerControl, failure_of
from turnmix.policies.server.engine import Completion, RenewalError, ServerSampling, Weights
from turnmix.policies.server.settings import EngineName

SERVED_NAME = "student"
TEMPERED = ("--logprobs-mode", "processed_logprobs")
"""Tells log π of sampled tokens at the temperature at which they were sampled, not at 1."""
PLAIN = ("--logprobs-mode", "raw_logprobs")
LEAST_VERSION = (0, 16)
"""Earlier ones reload no weights from another directory (0.12), or old ones (0.14)."""
_DEVELOPMENT = "VLLM_SERVER_DEV_MODE"
_RUNTIME_LORA = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"
_ANSWER_SECONDS = 120.0
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Which --max-lora-rank it takes."""


class VllmEngine:
    """One model under one name, or one base model with one adapter at a time."""

    name: EngineName = "vllm"
    most_requests: int | None = None
    environment: Mapping[str, str] = {_DEVELOPMENT: "1", _RUNTIME_LORA: "True", "VLLM_NO_USAGE_STATS": "1"}
    key_variable: str | None = "VLLM_API_KEY"
    least_version: tuple[int, int] | None = LEAST_VERSION

    def __init__(
        self,
        *,
        dtype: str,
        lora_rank: int | None,
        served_name: str = SERVED_NAME,
        tells_tempered_logprobs: bool = False,
        context: int | None = None,
    ) -> None:
        """`lora_rank`: of the adapters to come; None: all weights are trained. `served_name`: the base
        model's. `context`: tokens that a started server reads; None: as many as the model."""
        self._context = context
        self.tells_tempered_logprobs = tells_tempered_logprobs
        self._dtype = dtype
        self._lora_rank = lora_rank
        self.starts_with_weights = lora_rank is None  # else the base model, which takes an adapter then
        self._served_name = served_name
        self._adapter: str | None = None

    def command(self, weights: Weights, *, port: int) -> list[str]:
        model = weights.location if self._lora_rank is None else weights.base
        command = ["serve", model, "--served-model-name", self._served_name, "--dtype", self._dtype]
        # A checkpoint's own generation settings would change what temperature and top_p mean.
        command += ["--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm"]
        command += TEMPERED if self.tells_tempered_logprobs else PLAIN
        if self._context is not None:
            command += ["--max-model-len", str(self._context)]
        if self._lora_rank is not None:
            rank = next((rank for rank in _RANKS if rank >= self._lora_rank), self._lora_rank)
            command += ["--enable-lora", "--max-lora-rank", str(rank)]
        return command

    def renew(self, control: ServerControl, weights: Weights, *, timeout: float) -> str:
        if self._lora_rank is None:
            body = {"method": "reload_weights", "kwargs": {"weights_path": weights.location}}
            _demand(control, "/collective_rpc", body, timeout=timeout, switch=_DEVELOPMENT)
            name = self._served_name
        else:
            name = self._swap_adapter(control, weights.adapter, timeout=timeout)
        _empty_prefix_cache(control)
        return name

    def completion_request(
        self, *, prompt_ids: list[int], prompt_text: str, limit: int, seed: int, sampling: ServerSampling
    ) -> dict[str, Any]:
        stop = {"stop": list(sampling.stop_texts)} if sampling.stop_texts else {}
        return {
            "prompt": prompt_ids,
            "max_tokens": limit,
            "temperature": 0.0 if sampling.greedy else sampling.temperature,
            "top_p": 1.0 if sampling.greedy else sampling.top_p,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "seed": seed,
            "stop_token_ids": list(sampling.stop_ids),
            **stop,
            "skip_special_tokens": False,
            "return_token_ids": True,
            "logprobs": 0,
        }

    def read_completion(self, body: bytes) -> Completion:
        return read_completion(body, with_tokens=True)

    def prompt_logprobs(
        self, control: ServerControl, model: str, prompt_ids: list[int]
    ) -> list[float | None] | None:
        body = {"model": model, "prompt": prompt_ids, "max_tokens": 1, "prompt_logprobs": 0}
        reply = control.send("POST", "/v1/completions", body, timeout=_ANSWER_SECONDS)
        problem = failure_of(reply)
        if problem or isinstance(reply, Fault):
            raise RenewalError(f"POST /v1/completions: {problem}")
        try:
            listed = read_body(reply.body)["choices"][0]["prompt_logprobs"][1:]
            pairs = zip(prompt_ids[1:], listed, strict=True)
            return [known_logprob(entry[str(token)]["logprob"]) for token, entry in pairs]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise RenewalError(f"POST /v1/completions: no prompt_logprobs of each token ({error})") from error

    def context(self, control: ServerControl, model: str) -> int | None:
        reply = control.send("GET", "/v1/models")
        if isinstance(reply, Fault):
            return None
        try:
            listed = {entry["id"]: entry.get("max_model_len") for entry in read_json(reply.body)["data"]}
        except (ValueError, KeyError, TypeError):
            return None
        length = listed.get(model) or listed.get(self._served_name)
        return length if isinstance(length, int) else None

    def version(self, control: ServerControl) -> str | None:
        reply = control.send("GET", "/version")
        try:
            told = None if isinstance(reply, Fault) else read_json(reply.body).get("version")
        except (ValueError, AttributeError):
            return None
        return told if isinstance(told, str) else None

    def _swap_adapter(self, control: ServerControl, adapter: str | None, *, timeout: float) -> str:
        if self._adapter is not None:
            # A server that was started anew does not know it.
            control.send("POST", "/v1/unload_lora_adapter", {"lora_name": self._adapter}, timeout=timeout)
            self._adapter = None
        if adapter is None:
            return self._served_name
        # A name that no other adapter ever had: neither one of another run nor what is cached of it is meant.
        name = f"{SERVED_NAME}-{secrets.token_hex(6)}"
        body = {"lora_name": name, "lora_path": adapter}
        _demand(control, "/v1/load_lora_adapter", body, timeout=timeout, switch=_RUNTIME_LORA)
        self._adapter = name
        return name


def _empty_prefix_cache(control: ServerControl) -> None:
    reply = _demand(control, "/reset_prefix_cache", None, timeout=60.0, switch=_DEVELOPMENT)
    # Older versions answer with nothing; newer ones say whether it is empty.
    try:
        answer = read_json(reply) if reply.strip() else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise RenewalError(f"POST /reset_prefix_cache: not a JSON object, but {reply[:100]!r}: is this vLLM?")
    if answer.get("success") is False:
        raise RenewalError("POST /reset_prefix_cache: it still holds blocks: are others using this server?")


def _demand(
    control: ServerControl, path: str, body: Mapping[str, Any] | None, *, timeout: float, switch: str
) -> bytes:
    """The answer's body. Raises RenewalError."""
    reply = control.send("POST", path, body, timeout=timeout)
    if problem := failure_of(reply):
        # An adapter that is not found is a 404 too, with words of its own.
        is_off = not isinstance(reply, Fault) and reply.status == 404 and b'"detail"' in reply.body
        remedy = f"; start it with {switch}={VllmEngine.environment[switch]} in its environment"
        raise RenewalError(f"POST {path}: {problem}{remedy if is_off else ''}")
    assert not isinstance(reply, Fault)
    return reply.body
