"""The seam between a run and whoever judges the student's tokens: log π_teacher of each (paper Eq. 22).

In: token paths, grouped by trajectory. Out: one number a target token, at temperature 1. The teacher reads the
student's own tokens, so both must have one vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


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


Keep = Callable[[str, list[list[float]]], None]
"""Takes a trajectory's id and, for each of its paths, log π of each target token."""


class Scorer(Protocol):
    """Gives a teacher's log-probabilities."""

    def score(self, requests: Iterable[ScoreRequest], keep: Keep) -> None:
        """Hand the scores of each request to `keep` as they come, in any order.

        Raises:
            InfrastructureError: the teacher could not be asked.
        """
