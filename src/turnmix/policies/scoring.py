"""The seam between a run and whoever judges the student's tokens: log π_teacher of each (paper Eq. 22).

In: token paths, grouped by trajectory. Out: one number a target token, at temperature 1. The teacher reads the
student's own tokens, so both must have one vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from turnmix.core.usage import Usage

LOWEST_LOGPROB = -1000.0
"""What is not above it is no log-probability: a server's floor for log 0, such as -9999 or -1e30. A softmax of
float32 logits gives less only where they lie a thousand apart."""

HIGHEST_LOGPROB = 0.01
"""What is not below it is no log-probability, but perhaps a probability; rounding alone gives a little over 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPath:
    """A prompt, and the tokens behind it that are judged."""

    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """The paths of one trajectory."""

    trajectory_id: str
    paths: Sequence[TokenPath]


Keep = Callable[[str, list[list[float | None]]], None]
"""Takes a trajectory's id and, for each of its paths, log π of each target token; None: missing."""


class Scorer(Protocol):
    """Gives a teacher's log-probabilities."""

    @property
    def usage(self) -> Usage:
        """What was asked of a server so far; nothing where the teacher is in this process."""
        ...

    def score(self, requests: Iterable[ScoreRequest], keep: Keep) -> None:
        """Hand the scores of each request to `keep` as they come, in any order.

        Raises:
            InfrastructureError: the teacher could not be asked.
        """


def known_logprob(value: Any) -> float | None:
    """A log-probability as a server or a model gives it; None: it is missing, a floor for log 0, or no log at all.

    >>> [known_logprob(value) for value in (-1.5, "-2", None, -9999.0, "-Infinity", float("nan"), 0.9, True)]
    [-1.5, -2.0, None, None, None, None, None, None]
    """
    try:
        logprob = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return logprob if LOWEST_LOGPROB < logprob < HIGHEST_LOGPROB else None
