"""The plan of tree attention on a CPU. In: a layout of trees. Out: the kernel calls that cover it.

No N×N mask: the pairs that see each other are cut into pieces, each one call. A run of rows sees all rows above
it (a piece without a mask) and its own causally (another). Only short runs share a piece with a mask, where
that costs less than more calls.

Legend: Q rows and S seen rows of a piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turnmix.training.token_paths import Integers

CALL_COST = 4096
"""Query-key pairs that cost about as much as one more call of the kernel."""
MASK_COST = 1.25
"""What a pair costs under a mask, whose keys must be copied together, over what it costs without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Queries that see keys, in one call of the kernel."""

    rows: slice
    seen: tuple[slice, ...]
    is_causal: bool = False
    """Row by row; then `seen` is `rows`."""
    mask_QS: Tensor | None = None
    """Additive. Without one, and not causal, every row sees all of `seen`."""
    is_first: bool
    """No piece before it has these rows."""


def plan_pieces(subtree_ends: Integers, run_starts: Sequence[int]) -> tuple[Piece, ...]:
    """The pieces of a layout whose row k is seen by rows [k, subtree_ends[k]).

    `run_starts`: the first row of each run; every run is a path.
    """
    return tuple(
        piece
        for first, last, is_run in _lots(subtree_ends, [*run_starts, len(subtree_ends)])
        for piece in _pieces(subtree_ends, first, last, is_run)
    )


def _lots(ends: Integers, bounds: Sequence[int]) -> Iterator[tuple[int, int, bool]]:
    """Rows [first, last) that share their pieces, and whether they are one run: a lot takes the next run in
    while that costs less than the run's own pieces."""
    start = 0
    for index in range(len(bounds) - 1):
        if index == start:
            above = np.flatnonzero(ends[: bounds[start]] > bounds[start])
            cost = _run_cost(bounds[start + 1] - bounds[start], len(above))
        if index + 2 < len(bounds):
            stop, following = bounds[index + 1], bounds[index + 2]
            together = _lot_cost(ends[above], bounds[start], following)
            apart = _run_cost(following - stop, int((ends[:stop] > stop).sum()))
            if together <= cost + apart:
                cost = together
                continue
        yield bounds[start], bounds[index + 1], index == start
        start = index + 1


def _run_cost(num_rows: int, num_above: int) -> float:
    """The cost of a run's own pieces, in pairs."""
    cost = CALL_COST + num_rows**2 / 2
    return cost + CALL_COST + num_rows * num_above if num_above else cost


def _lot_cost(ends_above: Integers, first: int, last: int) -> float:
    """The cost of one masked piece and, where it is worth a call, one without a mask."""
    num_rows = last - first
    num_common = _worth_a_call(num_rows, int((ends_above >= last).sum()))
    masked = MASK_COST * num_rows * (len(ends_above) - num_common + num_rows)
    return CALL_COST * (1 + (num_common > 0)) + num_rows * num_common + masked


def _worth_a_call(num_rows: int, num_common: int) -> int:
    """How many of the rows that all see get a piece without a mask: all of them or none."""
    return num_common if (MASK_COST - 1) * num_rows * num_common > CALL_COST else 0


def _pieces(ends: Integers, first: int, last: int, is_run: bool) -> Iterator[Piece]:
    """The pieces of rows [first, last). What they see above them is what the first of them sees there."""
    rows = slice(first, last)
    above = np.flatnonzero(ends[:first] > first)
    num_common = len(above)
    if not is_run:
        num_common = _worth_a_call(last - first, int((ends[above] >= last).sum()))
    if num_common:
        yield Piece(rows=rows, seen=_slices(above[:num_common]), is_first=True)
    if is_run:
        yield Piece(rows=rows, seen=(rows,), is_causal=True, is_first=not num_common)
        return
    seen = np.concatenate([above[num_common:], np.arange(first, last)])
    mask = _mask(ends, np.arange(first, last), seen)
    yield Piece(rows=rows, seen=_slices(seen), mask_QS=mask, is_first=not num_common)


def _mask(ends: Integers, rows: Integers, seen: Integers) -> Tensor:
    visible = (seen <= rows[:, None]) & (rows[:, None] < ends[seen])
    mask: NDArray[np.float32] = np.where(visible, np.float32(0), np.float32(-np.inf))
    return torch.from_numpy(mask)


def _slices(rows: Integers) -> tuple[slice, ...]:
    """Ascending `rows` as slices of neighbours."""
    parts = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return tuple(slice(int(part[0]), int(part[-1]) + 1) for part in parts)
