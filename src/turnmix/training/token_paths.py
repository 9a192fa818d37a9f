"""The tokens that a transition reads, as an array that compares and sorts fast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Path = NDArray[np.int32]


def path_of(prompt_ids: Sequence[int] | Path, target_ids: Sequence[int] | Path) -> Path:
    """All tokens but the last one, which is predicted, never read."""
    return np.concatenate([as_path(prompt_ids), as_path(target_ids)[:-1]])


def as_path(token_ids: Sequence[int] | Path) -> Path:
    """The tokens as an array."""
    return (
        token_ids if isinstance(token_ids, np.ndarray) else np.fromiter(token_ids, np.int32, len(token_ids))
    )


def sorting_key(path: Path) -> bytes:
    """Bytes that compare as the tokens do, one after the other, and many times faster."""
    return path.astype(">u4").tobytes()


def shared_prefix(left: Path, right: Path) -> int:
    """The length of the longest common prefix."""
    shorter = min(len(left), len(right))
    differences = left[:shorter] != right[:shorter]
    return int(differences.argmax()) if differences.any() else shorter
