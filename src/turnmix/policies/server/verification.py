"""Does a server hold the weights it was given? It and the student in this process read the same prompt.

In: log π of a prompt's tokens from both. Out: nothing, or a `RenewalError`. An engine may answer that it loaded
new weights and go on with a part of the old ones: vLLM on a CPU does where the head is tied to the embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from turnmix.policies.server.control import ServerControl
from turnmix.policies.server.engine import Engine, RenewalError

OwnLogprobs = Callable[[Sequence[int]], list[float]]
"""Log π of each token but the first, by the student's weights as they are in this process."""

TOLERANCES = {"float32": 0.01, "float16": 0.05, "bfloat16": 0.1}
"""By the type that the server computes in: how far the mean of |Δ log π| may be off by rounding alone."""


PLAIN = 6.0
"""So many times as far as roundings scatter must old and new weights lie apart, for one to be told from the other."""


def check_holds_weights(
    engine: Engine,
    control: ServerControl,
    *,
    model: str,
    prompt: Sequence[int],
    own: OwnLogprobs,
    dtype: str,
    before: Sequence[float] | None = None,
) -> list[float] | None:
    """Compare both on `prompt`, and give what the student's own weights say. An engine that returns no
    log-probabilities of prompts is believed. `before`: what the weights before these said; what is
    served must be nearer the new ones.

    What is found is a server that did not change, or changed in part, once the difference is larger than the type's
    roundings. A smaller change than that is not told from them.

    Raises:
        RenewalError: they differ, or the server cannot be asked.
    """
    served = engine.prompt_logprobs(control, model, list(prompt))
    if served is None:
        return None
    now = own(prompt)
    difference = mean_difference(served, now)
    if difference is None:
        raise RenewalError(
            "the server gives no log-probability of any token of the prompt that it is asked about"
        )
    if not difference <= TOLERANCES[dtype]:
        raise RenewalError(
            f"the server says that it took the weights, but its log-probabilities are {difference:.2g} off the "
            f"student's on average, where {dtype} explains {TOLERANCES[dtype]:g}"
        )
    if before is not None and is_nearer(served, old=before, new=now):
        raise RenewalError(
            "the server says that it took the weights, but its log-probabilities are nearer those of the weights before"
        )
    return now


def is_nearer(served: Sequence[float | None], *, old: Sequence[float], new: Sequence[float]) -> bool:
    """Is what is served plainly nearer `old` than `new`? Not where both lie within its own scatter.

    >>> is_nearer([-1.0, -2.01, -3.0], old=[-1.0, -2.0, -3.01], new=[-1.2, -1.9, -3.1])
    True
    >>> is_nearer([-1.2, -1.91, -3.1], old=[-1.0, -2.0, -3.01], new=[-1.2, -1.9, -3.1])
    False
    >>> is_nearer([-1.01, -1.98, -3.0], old=[-1.0, -2.0, -3.01], new=[-1.01, -2.0, -3.0])
    False
    """
    known = [(s, o, n) for s, o, n in zip(served, old, new, strict=True) if s is not None]
    apart = math.fsum((n - o) ** 2 for _, o, n in known)
    if not apart:
        return False
    moved = math.fsum((s - o) * (n - o) for s, o, n in known) / apart  # 0: the old weights, 1: the new ones
    scatter = math.fsum((s - o - moved * (n - o)) ** 2 for s, o, n in known) / len(known)
    return moved < 0.5 and apart > PLAIN**2 * scatter


def mean_difference(served: Sequence[float | None], own: Sequence[float]) -> float | None:
    """Mean of |Δ log π| over the tokens of which the server tells it; None: there are none.

    >>> mean_difference([-1.0, None, -2.0], [-1.5, -9.0, -2.0])
    0.25
    """
    differences = [abs(a - b) for a, b in zip(served, own, strict=True) if a is not None]
    return sum(differences) / len(differences) if differences else None
