"""The tokens that a transition reads, as an array that compares and sorts fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Path = NDArray[np.int32]
_MORE_THAN_ANY = 1 << 62


def path_of(prompt_ids: Sequence[int] | Path, target_ids: Sequence[int] | Path) -> Path:
    """All tokens but the last one, which is predicted, never read."""
    return np.concatenate([as_path(prompt_ids), as_path(target_ids)[:-1]])


def as_path(token_ids: Sequence[int] | Path) -> Path:
    """The tokens as an array."""
    return (
        token_ids if isinstance(token_ids, np.ndarray) else np.fromiter(token_ids, np.int32, len(token_ids))
    )


@dataclass(frozen=True, slots=True)
class PathOrder:
    """How paths stand in the order of their tokens, where neighbours share the longest prefixes."""

    places: list[int]
    """Which path is the first one, which the second. Equal ones keep their order."""
    shared: list[int]
    """Tokens that each has in common with the one before it; 0 for the first."""

    def among(self, places: Sequence[int]) -> PathOrder:
        """The order of those at `places`, which ascend.

        >>> order = path_order([as_path(each) for each in ((1, 2, 3), (1, 9), (1, 2, 4))])
        >>> order
        PathOrder(places=[0, 2, 1], shared=[0, 2, 1])
        >>> order.among([0, 1])
        PathOrder(places=[0, 1], shared=[0, 1])
        """
        if len(places) == len(self.places):
            return self
        number = {place: index for index, place in enumerate(places)}
        found, shared = [], []
        least = 0
        for place, common in zip(self.places, self.shared, strict=True):
            least = min(least, common)
            if place in number:
                found.append(number[place])
                shared.append(least)
                least = _MORE_THAN_ANY
        return PathOrder(found, shared)


def path_order(paths: Sequence[Path]) -> PathOrder:
    """The order of `paths`."""
    keys = [_sorting_key(path) for path in paths]
    places = sorted(range(len(paths)), key=keys.__getitem__)
    shared = [shared_prefix(paths[left], paths[right]) for left, right in pairwise(places)]
    return PathOrder(places, [0, *shared])


def _sorting_key(path: Path) -> bytes:
    """Bytes that compare as the tokens do, one after the other, and many times faster."""
    return path.astype(">u4").tobytes()


def shared_prefix(left: Path, right: Path) -> int:
    """The length of the longest common prefix."""
    shorter = min(len(left), len(right))
    differences = left[:shorter] != right[:shorter]
    return int(differences.argmax()) if differences.any() else shorter
