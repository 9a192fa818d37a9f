"""Batched generation for one cohort, each trajectory's keys and values kept between its turns.

In: for each row its whole prompt of this turn. Out: the sampled tokens and their log π. What the prompt
shares with the row's cached tokens is not computed again; where it rewrites history the cache is cut back.

Rows that still generate are the first rows of the cache: a row that ends changes places with the last of
them, so a decoding step reads the cache without a copy. The order of rows, and with it every rounding,
follows from the requests alone.

Legend: N rows in a pass, Q new tokens a row, L cached length, V vocabulary, T tokens of the turn.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from turnmix.policies.local.cache import RowCache, cache_argument
from turnmix.policies.local.sampling import Sampling

Key = TypeVar("Key", bound=Hashable)

_PREFILL_TOKENS = 8192
"""At most so many tokens, padding included, in one prefill pass."""
_MASK_PAIRS = 2**26
"""At most so many pairs of a new token and one that it may see in one prefill pass, where that is more than a token a
row: 256 MB of mask in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """One row's turn."""

    prompt: Sequence[int]
    uniforms: torch.Tensor
    """One number for each token that may be generated: its length is the limit, 0 for none."""
    is_over: Callable[[Sequence[int]], bool] | None = None
    """Do the tokens sampled so far end the answer, beside a stop token? Asked after each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledTurn:
    """What one row generated: up to and including a stop token or what ends it, or up to its limit."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(slots=True, eq=False)
class _Row:
    key: Hashable
    request: TurnRequest
    cached: list[int] = field(default_factory=list)
    """The tokens whose keys and values are in the cache."""
    sampled: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def limit(self) -> int:
        return len(self.request.uniforms)

    @property
    def is_over(self) -> bool:
        return self.request.is_over is not None and self.request.is_over(self.sampled)


class CohortGeneration:
    """The rows of one cohort on one model."""

    def __init__(self, model: Any, *, sampling: Sampling, stop_ids: frozenset[int]) -> None:
        self._model = model
        self._sampling = sampling
        self._stop_ids = stop_ids
        self._device: torch.device = model.device
        self._dtype: torch.dtype = model.dtype
        self._cache = RowCache()
        self._cache_argument = cache_argument(model)
        self._rows: list[_Row] = []

    @torch.inference_mode()
    def leave(self, key: Hashable) -> None:
        """Forget a row that will not generate again."""
        last = len(self._rows) - 1
        for number, row in enumerate(self._rows):
            if row.key == key:
                self._swap([number], [last])
                self._rows.pop()
                return

    @torch.inference_mode()
    def generate(self, requests: Mapping[Key, TurnRequest]) -> dict[Key, SampledTurn]:
        """One turn for every row in `requests`. A row is made at its first turn; rows not named rest."""
        known = {row.key for row in self._rows}
        self._rows += [_Row(key, request) for key, request in requests.items() if key not in known]
        by_key = {row.key: row for row in self._rows}
        asked = {key: by_key[key] for key in requests}
        for key, row in asked.items():
            row.request, row.sampled, row.logprobs = requests[key], [], []
        active = self._bring_forward([row for row in asked.values() if row.limit > 0])
        if active:
            logits_NV = self._prefill([row.request.prompt for row in self._rows[:active]])
            uniforms = [row.request.uniforms for row in self._rows[:active]]
            uniforms_NT = torch.nn.utils.rnn.pad_sequence(uniforms, batch_first=True).to(self._device)
            self._decode(logits_NV, uniforms_NT)
        return {
            key: SampledTurn(token_ids=tuple(row.sampled), logprobs=tuple(row.logprobs))
            for key, row in asked.items()
        }

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Bring the first rows to their prompts; logits [N, V] behind each prompt."""
        self._cache.reserve(num_rows=len(self._rows), length=max(map(len, prompts)))
        for row, prompt in zip(self._rows, prompts, strict=False):
            # One token at least is computed: its logits are needed.
            del row.cached[min(_shared_length(row.cached, prompt), len(prompt) - 1) :]
        new = {number: len(prompt) - len(self._rows[number].cached) for number, prompt in enumerate(prompts)}
        logits: list[torch.Tensor] = [torch.empty(0)] * len(prompts)
        for group in _groups_of_like_length(new):
            width = max(new[number] for number in group)
            tokens_NQ = torch.zeros(len(group), width, dtype=torch.long)
            positions_NQ = torch.full((len(group), width), -1)
            # Aligned on the right, so that the last column of the pass is every row's last token.
            for line, number in enumerate(group):
                start = len(self._rows[number].cached)
                tokens_NQ[line, width - new[number] :] = torch.tensor(prompts[number][start:])
                positions_NQ[line, width - new[number] :] = torch.arange(start, len(prompts[number]))
            logits_GV = self._read(group, tokens_NQ, positions_NQ)
            for line, number in enumerate(group):
                self._rows[number].cached[:] = prompts[number]
                logits[number] = logits_GV[line]
        return torch.stack(logits)

    def _read(
        self, group: Sequence[int], tokens_NQ: torch.Tensor, positions_NQ: torch.Tensor
    ) -> torch.Tensor:
        """Compute new tokens of the rows in `group`; logits of the last column."""
        rows = torch.tensor(group, device=self._device)
        longest = int(positions_NQ.max()) + 1
        step = max(1, min(_PREFILL_TOKENS, _MASK_PAIRS // longest) // len(group))
        for start in range(0, tokens_NQ.shape[1], step):
            positions = positions_NQ[:, start : start + step]
            length = int(positions.max()) + 1
            positions = positions.to(self._device)
            # Padding looks at position 0 alone: a row that sees nothing would become NaN.
            seen_NQ = positions.clamp(min=0)
            hidden_NQL = torch.arange(length, device=self._device) > seen_NQ[:, :, None]
            mask = torch.zeros(hidden_NQL.shape, dtype=self._dtype, device=self._device)
            mask.masked_fill_(hidden_NQL, float("-inf"))
            self._cache.aim(rows, positions, length)
            tokens = tokens_NQ[:, start : start + step].to(self._device)
            logits = self._forward(tokens, mask[:, None], seen_NQ)
        return logits

    def _decode(self, logits_NV: torch.Tensor, uniforms_NT: torch.Tensor) -> None:
        """Sample the first N rows to their ends."""
        active = len(logits_NV)
        drawn: list[tuple[list[_Row], torch.Tensor]] = []
        positions_N, mask_N11L = self._decoding_state(active)
        for step in range(uniforms_NT.shape[1]):
            tokens_N, logprobs_N = self._sampling.draw(logits_NV, uniforms_NT[:, step])
            rows = self._rows[:active]
            drawn.append((rows, logprobs_N))
            for row, token in zip(rows, tokens_N.tolist(), strict=True):
                row.sampled.append(token)
            going = [
                row
                for row in rows
                if len(row.sampled) < row.limit and row.sampled[-1] not in self._stop_ids and not row.is_over
            ]
            if not going:
                break
            length = max(len(row.cached) for row in going) + 1
            if len(going) < active or length >= self._cache.capacity:
                self._cache.reserve(num_rows=len(self._rows), length=length)
                before = {row.key: number for number, row in enumerate(rows)}
                active = self._bring_forward(going)
                order = torch.tensor([before[row.key] for row in self._rows[:active]], device=self._device)
                tokens_N, uniforms_NT = tokens_N[order], uniforms_NT[order]
                positions_N, mask_N11L = self._decoding_state(active)
            for row in self._rows[:active]:
                row.cached.append(row.sampled[-1])
            mask_N11L[torch.arange(active, device=self._device), 0, 0, positions_N] = 0
            self._cache.aim(active, positions_N[:, None], length)
            logits_NV = self._forward(tokens_N[:, None], mask_N11L[..., :length], positions_N[:, None])
            positions_N = positions_N + 1
        logprobs = torch.cat([logprobs_N for _, logprobs_N in drawn]).tolist()
        for row, logprob in zip((row for rows, _ in drawn for row in rows), logprobs, strict=True):
            row.logprobs.append(logprob)

    def _decoding_state(self, active: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next position of the first rows [N], and the mask [N, 1, 1, C] of what each has seen so far."""
        lengths = [len(row.cached) for row in self._rows[:active]]
        positions_N = torch.tensor(lengths, device=self._device)
        hidden = torch.arange(self._cache.capacity, device=self._device) >= positions_N[:, None]
        mask = torch.zeros(hidden.shape, dtype=self._dtype, device=self._device)
        return positions_N, mask.masked_fill_(hidden, float("-inf"))[:, None, None]

    def _forward(self, tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{self._cache_argument: self._cache},
        ).logits
        return logits[:, -1]

    def _bring_forward(self, chosen: Sequence[_Row]) -> int:
        """Make `chosen` the first rows with as few exchanges as can be; their number."""
        wanted = {id(row) for row in chosen}
        count = len(chosen)
        free = [number for number, row in enumerate(self._rows[:count]) if id(row) not in wanted]
        behind = [n for n, row in enumerate(self._rows) if n >= count and id(row) in wanted]
        self._swap(free, behind)
        return count

    def _swap(self, first: list[int], second: list[int]) -> None:
        pairs = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
        if not pairs:
            return
        length = max(len(self._rows[number].cached) for pair in pairs for number in pair)
        if length:
            self._cache.reserve(num_rows=len(self._rows), length=length)
            self._cache.swap([a for a, _ in pairs], [b for _, b in pairs], length)
        for a, b in pairs:
            self._rows[a], self._rows[b] = self._rows[b], self._rows[a]


def _shared_length(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences share from the start.

    >>> _shared_length([1, 2, 3], [1, 2, 4, 5])
    2
    """
    limit = min(len(left), len(right))
    if list(left[:limit]) == list(right[:limit]):
        return limit
    return next(index for index in range(limit) if left[index] != right[index])


def _groups_of_like_length(lengths: Mapping[int, int]) -> list[list[int]]:
    """Rows to be read in one pass: padding to the longest of a group stays below a quarter, or 16 tokens.

    >>> _groups_of_like_length({0: 100, 1: 5, 2: 90, 3: 20})
    [[0, 2], [3, 1]]
    """
    groups: list[list[int]] = []
    longest = 0
    for number in sorted(lengths, key=lambda number: -lengths[number]):
        if groups and longest - lengths[number] <= max(16, longest // 4):
            groups[-1].append(number)
        else:
            longest = lengths[number]
            groups.append([number])
    return groups
