"""In: transitions, and the rows that predict their target tokens. Out: the labels of their tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnmix.training.token_paths import Integers

if TYPE_CHECKING:
    from turnmix.training.tree import RenderedTransition

_ID_BITS = 32
_ID_MASK = (1 << _ID_BITS) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The loss, sorted by row."""

    rows: Integers
    ids: Integers
    weights: NDArray[np.float64]
    shares: NDArray[np.float64]
    reference_logprobs: NDArray[np.float64]
    sampled: NDArray[np.float64]


def merged_labels(transitions: Sequence[RenderedTransition], target_rows: Sequence[Integers]) -> Labels:
    """Labels that agree in all that the loss of a token depends on become one, their shares summed: so whatever the
    loss is, it is that of the separate transitions."""
    lengths = [len(item.target_ids) for item in transitions]
    weights = np.concatenate(
        [np.broadcast_to(item.weight, size) for item, size in zip(transitions, lengths, strict=True)]
    ).astype(np.float64)
    shares = np.repeat([item.share for item in transitions], lengths)
    reference_logprobs = _joined([item.reference_logprobs for item in transitions], lengths)
    sampled = _joined([item.sampled_logprobs for item in transitions], lengths)
    ids = np.concatenate([np.asarray(item.target_ids, dtype=np.int64) for item in transitions])
    counted = weights != 0
    weights, shares = weights[counted], shares[counted]
    reference_logprobs, sampled = reference_logprobs[counted], sampled[counted]
    places = np.concatenate(target_rows)[counted] << _ID_BITS | ids[counted]
    others = [weights.view(np.int64)]
    others += [each.view(np.int64) for each in (reference_logprobs, sampled) if not np.isnan(each).all()]
    others = [each for each in others if (each != each[:1]).any()]  # the same for all: it tells none apart
    if others:
        keys = np.stack([places, *others])
        (places, *_), first, where = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    else:
        places, first, where = np.unique(places, return_index=True, return_inverse=True)
    summed = np.bincount(where.reshape(-1), weights=shares, minlength=len(places))
    return Labels(
        rows=places >> _ID_BITS,
        ids=places & _ID_MASK,
        weights=weights[first],
        shares=summed.astype(np.float64),
        reference_logprobs=reference_logprobs[first],
        sampled=sampled[first],
    )


def _joined(logprobs: Sequence[tuple[float, ...] | None], lengths: Sequence[int]) -> NDArray[np.float64]:
    """All tokens' values; NaN where there are none."""
    return np.concatenate(
        [
            np.full(size, np.nan) if values is None else np.asarray(values)
            for values, size in zip(logprobs, lengths, strict=True)
        ]
    )
