"""Transitions and the rows that predict their target tokens enter; the labels of their tree leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnmix.training.token_paths import Integers

if TYPE_CHECKING:
    from turnmix.training.tree import RenderedTransition


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The loss, sorted by row."""

    rows: Integers
    ids: Integers
    weights: NDArray[np.float64]
    shares: NDArray[np.float64]
    references: NDArray[np.float64]
    sampled: NDArray[np.float64]


def merged_labels(transitions: Sequence[RenderedTransition], target_rows: Sequence[Integers]) -> Labels:
    """
    Labels that agree in row and token become one, their weights summed, where the loss is linear in the
    weight. One that is compared with a reference is so for equal references and weights of one sign alone:
    a clipped ratio is cut on another side for a negative weight.
    """
    lengths = [len(item.target_ids) for item in transitions]
    weights = np.concatenate(
        [np.broadcast_to(item.weight, size) for item, size in zip(transitions, lengths, strict=True)]
    ).astype(np.float64)
    shares = np.repeat([item.share for item in transitions], lengths)
    references = _joined([item.reference_logprobs for item in transitions], lengths)
    sampled = _joined([item.sampled_logprobs for item in transitions], lengths)
    ids = np.concatenate([np.asarray(item.target_ids, dtype=np.int64) for item in transitions])
    counted = weights != 0
    weights, shares = weights[counted] * shares[counted], shares[counted]
    references, sampled = references[counted], sampled[counted]
    keys = [np.concatenate(target_rows)[counted], ids[counted]]
    if not np.isnan(references).all():
        signs = np.where(np.isnan(references), 0, np.sign(weights)).astype(np.int64)
        keys += [references.view(np.int64), signs]
    if not np.isnan(sampled).all():
        keys.append(sampled.view(np.int64))
    merged, first, where = np.unique(np.stack(keys), axis=1, return_index=True, return_inverse=True)

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(where.reshape(-1), weights=values, minlength=merged.shape[1]).astype(np.float64)

    return Labels(
        rows=merged[0],
        ids=merged[1],
        weights=summed(weights),
        shares=summed(shares),
        references=references[first],
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
