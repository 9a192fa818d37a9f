"""The processes that learn together, one a device: rank 0 leads and alone writes, the others follow.

Started by `torchrun --nproc-per-node 2 -m turnmix …` or `accelerate launch -m turnmix …`. The loop runs on
rank 0. Its learner tells the others what it is asked to do, and they do the same: they hold shards of the
same weights, so every rank must take part in whatever touches those.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from turnmix.core.errors import InfrastructureError, first_line

Item = TypeVar("Item")

LONGEST_WAIT = timedelta(days=30)
"""Followers wait while rank 0 rolls out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process's place among those that learn together."""

    index: int = 0
    number: int = 1
    device: torch.device
    words: Any = None
    """The process group that carries what rank 0 tells; None: it is alone."""

    @classmethod
    def join(cls, device: str) -> Ranks:
        """This process among those that a launcher started together, on its own `device` of that type.

        Raises:
            InfrastructureError: one of them has gone before all were together.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(device=torch.device(device))
        from accelerate import PartialState

        on_cpu = torch.device(device).type == "cpu"
        try:
            state = PartialState(cpu=on_cpu, backend=None if on_cpu else "cuda:nccl,cpu:gloo")
            words = distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)
        except RuntimeError as error:
            if not isinstance(error, distributed.DistError) and "gloo/transport" not in str(error):
                raise  # of this machine, such as a backend that is not built in
            raise _lost(int(os.environ.get("RANK", "0")), error) from error
        return cls(
            index=state.process_index,
            number=state.num_processes,
            device=torch.device("cpu") if on_cpu else state.device,
            words=words,
        )

    @property
    def is_first(self) -> bool:
        return self.index == 0

    def tell(self, word: Any) -> None:
        """Say `word`, any object that pickles, to all who `hear`. The others say nothing."""
        if self.number > 1 and self.is_first:
            distributed.broadcast_object_list([word], src=0, group=self.words)

    def hear(self) -> Any:
        """The next word of rank 0.

        Raises:
            InfrastructureError: it has gone without one.
        """
        heard = [None]
        try:
            distributed.broadcast_object_list(heard, src=0, group=self.words)
        except RuntimeError as error:
            raise _lost(self.index, error) from error
        return heard[0]

    def gathered(self, value: Any) -> list[Any]:
        """What every rank has, in their order; all call this together.

        Raises:
            InfrastructureError: one has gone.
        """
        if self.number == 1:
            return [value]
        values = [None] * self.number
        try:
            distributed.all_gather_object(values, value, group=self.words)
        except RuntimeError as error:
            raise _lost(self.index, error) from error
        return values

    def told_in_turn(self, items: Iterable[Item]) -> Iterator[Item]:
        """Rank 0's `items`, on every rank, of which none holds more than it is at; those of the others are not looked
        at. Each rank takes all of them, also where it fails on one: the others wait for it."""
        if self.number == 1:
            yield from items
        elif self.is_first:
            for each in items:
                self.tell((each,))
                yield each
            self.tell(())
        else:
            while heard := self.hear():
                yield heard[0]

    def agreed(self, value: Any) -> Any:
        """Rank 0's value, on every rank; each calls this once."""
        if self.is_first:
            self.tell(value)
            return value
        return self.hear()

    def sum(self, values: Tensor) -> Tensor:
        """`values` summed over all ranks."""
        if self.number > 1:
            distributed.all_reduce(values)
        return values

    @staticmethod
    def leave() -> None:
        """Take the processes apart, if they had been put together."""
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _lost(rank: int, error: RuntimeError) -> InfrastructureError:
    lost = "another" if rank == 0 else "rank 0, which leads"
    return InfrastructureError(
        f"rank {rank} has lost {lost}: its own error is the one to look at ({first_line(error)})"
    )
