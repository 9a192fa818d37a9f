"""How many conversations a vLLM server holds at once, and how long a request may therefore wait.

In: what its /metrics tell of its cache, and how it will be asked. Out: a finding. A conversation that finds no room in
the cache waits until another one has been answered; a request's time-out runs meanwhile.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from turnmix.core.finding import Finding
from turnmix.policies.endpoint.retry import Fault
from turnmix.policies.server.control import ServerControl

SLOW_TOKENS_PER_SECOND = 20.0
"""Of one answer among many: what a server is taken to write at least."""
_INFO = re.compile(r"^vllm:cache_config_info\{(.*)\}", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a server will be asked."""

    field: str
    """The recipe's section."""
    context: int
    """Tokens of the longest conversation with its answer."""
    answer: int
    """Tokens of the longest answer."""
    at_once: int
    """Requests under way at one moment, at most."""
    timeout: float
    """Seconds for one request."""


def cache_findings(endpoint: str, asking: Asking) -> list[Finding]:
    """One, or none where it does not tell of its cache. It is sent no key: what it measures it tells everybody."""
    reply = ServerControl(endpoint).send("GET", "/metrics")
    tokens = None if isinstance(reply, Fault) else cached_tokens(reply.body.decode("utf-8", "replace"))
    return [] if tokens is None else [_finding(tokens, asking)]


def cached_tokens(metrics: str) -> int | None:
    """The tokens that fit into all engines' caches; None: it is not told.

    >>> cached_tokens('vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000"} 1.0')
    16000
    """
    found = 0
    for told in _INFO.findall(metrics):
        labels = dict(_LABEL.findall(told))
        sizes = [labels.get("block_size", ""), labels.get("num_gpu_blocks", "")]
        if not all(size.isdecimal() and len(size) < 12 for size in sizes):
            return None
        found += int(sizes[0]) * int(sizes[1])
    return found or None


def _finding(tokens: int, asking: Asking) -> Finding:
    held = tokens / asking.context
    told = f"its cache holds {tokens:,} tokens: {held:,.1f} conversations of {asking.context:,}"
    if held < 1:
        detail = f"{told}: give the server more of its card, or a shorter --max-model-len"
        return Finding(subject="cache", passed=False, detail=f"{asking.field}: {detail}")
    rounds = math.ceil(asking.at_once / held)
    needed = math.ceil(rounds * asking.answer / SLOW_TOKENS_PER_SECOND)
    told += f"; {asking.at_once} are asked at once"
    if needed <= asking.timeout:
        return Finding(subject="cache", passed=True, detail=told)
    remedy = (
        f"where all are long, one may take {needed:,} s: set {asking.field}.timeout_seconds={needed}, or ask fewer at "
        f"once ({asking.field}.max_concurrency)"
    )
    return Finding(subject="cache", passed=None, detail=f"{told}; {remedy}")
