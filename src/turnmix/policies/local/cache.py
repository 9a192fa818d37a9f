"""A key-value cache whose rows have lengths of their own.

In: new keys and values of some rows and the position of each. Out: those rows' keys and values, cut to a
common length. What lies behind a row's own length is old or padding; the caller's attention mask hides it.

Legend: R rows, H key-value heads, C capacity, D head size, Q new tokens a row, L common length.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers.cache_utils import Cache

_CAPACITY_STEP = 256


def cache_argument(model: Any) -> str:
    """What the model's forward pass calls its cache: `cache` since transformers 5.24, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class RowCache(Cache):  # type: ignore[misc]
    """Buffers [R, H, C, D] a layer, written at any position of any row. The last position is for padding."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.capacity = 0
        self._num_rows = 0
        self._buffers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._rows: torch.Tensor | int = 0
        self._index: tuple[torch.Tensor, torch.Tensor] | None = None
        self._length = 0

    def reserve(self, *, num_rows: int, length: int) -> None:
        """Make room for `num_rows` rows of `length` tokens; what is cached stays."""
        if num_rows <= self._num_rows and length < self.capacity:
            return
        if length >= self.capacity:
            wanted = max(length + 1, self.capacity + self.capacity // 4)
            self.capacity = -(-wanted // _CAPACITY_STEP) * _CAPACITY_STEP
        self._num_rows = max(num_rows, self._num_rows)
        for layer, (keys, values) in enumerate(self._buffers):
            # One layer at a time, and what it had is freed before the next: never two whole caches.
            self._buffers[layer] = (self._grown(keys), self._grown(values))
            del keys, values

    def aim(self, rows: torch.Tensor | int, positions_RQ: torch.Tensor, length: int) -> None:
        """Say where the next forward pass belongs.

        rows: the rows' numbers, or n for the first n rows, which are then read without a copy
        positions_RQ: where each new token is written; -1 for padding
        length: how many positions are read
        """
        self._rows = rows
        self._length = length
        numbers = torch.arange(rows, device=positions_RQ.device) if isinstance(rows, int) else rows
        # A negative position counts from the end, so padding lands on the last one.
        self._index = (numbers[:, None], positions_RQ)

    def swap(self, first: list[int], second: list[int], length: int) -> None:
        """Exchange rows pairwise up to `length`. No row may be named twice."""
        for buffers in self._buffers:
            for buffer in buffers:
                buffer[first + second, :, :length] = buffer[second + first, :, :length]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert self._index is not None, "aim() comes before the forward pass"
        if layer_idx == len(self._buffers):
            self._buffers.append((self._empty(key_states), self._empty(value_states)))
        keys, values = self._buffers[layer_idx]
        numbers, positions = self._index
        keys[numbers, :, positions] = key_states.transpose(1, 2)
        values[numbers, :, positions] = value_states.transpose(1, 2)
        if isinstance(self._rows, int):
            return keys[: self._rows, :, : self._length], values[: self._rows, :, : self._length]
        return keys[self._rows, :, : self._length], values[self._rows, :, : self._length]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._length

    def _empty(self, states: torch.Tensor) -> torch.Tensor:
        # Zeros, not empty memory: a masked NaN would still spoil its row.
        return states.new_zeros(self._num_rows, states.shape[1], self.capacity, states.shape[3])

    def _grown(self, buffer: torch.Tensor) -> torch.Tensor:
        grown = buffer.new_zeros(self._num_rows, buffer.shape[1], self.capacity, buffer.shape[3])
        grown[: buffer.shape[0], :, : buffer.shape[2]] = buffer
        return grown
