"""Does a server hold the weights it was given? It and the student in this process read the same prompt.

In: log π of a prompt's tokens from both. Out: nothing, or a `RenewalError`. An engine may answer that it loaded
new weights and go on with a part of the old ones: vLLM on a CPU does where the head is tied to the embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from turnmix.policies.server.control import ServerControl
from turnmix.policies.server.engine import Engine, RenewalError

OwnLogprobs = Callable[[Sequence[int]], list[float]]
"""Log π of each token but the first, by the student's weights as they are in this process."""

TOLERANCES = {"float32": 0.01, "float16": 0.05, "bfloat16": 0.1}
"""By the type that the server computes in: how far the mean of |Δ log π| may be off by rounding alone."""


def check_holds_weights(
    engine: Engine, control: ServerControl, *, model: str, prompt: Sequence[int], own: OwnLogprobs, dtype: str
) -> None:
    """Compare both on `prompt`. An engine that returns no log-probabilities of prompts is believed.

    A small change is not told from rounding: what is found is a server that did not change, or changed in part,
    once the difference is larger than the type's roundings.

    Raises:
        RenewalError: they differ, or the server cannot be asked.
    """
    served = engine.prompt_logprobs(control, model, list(prompt))
    if served is None:
        return
    difference = mean_difference(served, own(prompt))
    if difference is None:
        raise RenewalError(
            "the server gives no log-probability of any token of the prompt that it is asked about"
        )
    if not difference <= TOLERANCES[dtype]:
        raise RenewalError(
            f"the server says that it took the weights, but its log-probabilities are {difference:.2g} off the "
            f"student's on average, where {dtype} explains {TOLERANCES[dtype]:g}"
        )


def mean_difference(served: Sequence[float | None], own: Sequence[float]) -> float | None:
    """Mean of |Δ log π| over the tokens of which the server tells it; None: there are none.

    >>> mean_difference([-1.0, None, -2.0], [-1.5, -9.0, -2.0])
    0.25
    """
    differences = [abs(a - b) for a, b in zip(served, own, strict=True) if a is not None]
    return sum(differences) / len(differences) if differences else None
