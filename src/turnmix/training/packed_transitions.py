"""One trajectory's rendered transitions in little room: of each prompt what the one before it does not hold.

>>> packed = PackedTransitions()
>>> packed.add(RenderedTransition(prompt_ids=[1, 2], target_ids=[5], group="a"))
>>> packed.add(RenderedTransition(prompt_ids=[1, 2, 7, 3], target_ids=[6, 9], group="a"))
>>> packed.num_tokens  # 1 2 5 and 7 3 6 9
7
>>> [item.prompt_ids.tolist() for item in packed.unpacked()]
[[1, 2], [1, 2, 7, 3]]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from turnmix.training.token_paths import Path, as_path, shared_prefix
from turnmix.training.tree import RenderedTransition

_NOTHING = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class _Packed:
    num_shared: int
    """Tokens that its prompt has in common with the one before it."""
    more: Path
    item: RenderedTransition
    """Less its prompt."""


class PackedTransitions:
    """In the order in which they were added."""

    def __init__(self) -> None:
        self._packed: list[_Packed] = []
        self._latest: Path = _NOTHING
        self.num_labels = 0
        self.num_rows = 0
        """Of all of them, each alone."""
        self.num_tokens = 0
        """Held."""

    def add(self, item: RenderedTransition) -> None:
        prompt = as_path(item.prompt_ids)
        num_shared = shared_prefix(self._latest, prompt)
        more, target = prompt[num_shared:].copy(), as_path(item.target_ids)
        self.num_labels += item.num_labels
        self.num_rows += item.num_rows
        self.num_tokens += len(more) + len(target)
        self._latest = prompt
        kept = replace(item, prompt_ids=_ANY_PROMPT, target_ids=target)
        self._packed.append(_Packed(num_shared, more, kept))

    def close(self) -> None:
        """Forget the latest prompt: what is added from now on shares nothing with it."""
        self._latest = _NOTHING

    def unpacked(self, *, share: float = 1.0) -> list[RenderedTransition]:
        """All of them; `share`: of each."""
        items: list[RenderedTransition] = []
        prompt = _NOTHING
        for each in self._packed:
            prompt = np.concatenate([prompt[: each.num_shared], each.more])
            items.append(replace(each.item, prompt_ids=prompt, share=share))
        return items


_ANY_PROMPT = np.zeros(1, dtype=np.int32)
