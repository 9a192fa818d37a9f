"""What a teacher's tokens cost, as the user says it. A price that is not known makes no figure, never 0.

In: prices and tokens. Out: dollars, or None. Prices are kept in RUN/analyses/prices.json, so that the same table comes
out again.

>>> prices = TeacherPrices(input=3.0, cached=0.3, output=15.0)
>>> used = Usage(requests=10, input_tokens=900_000, cached_tokens=600_000, output_tokens=20_000)
>>> round(dollars(used, prices), 6)  # .3 · 3 + .6 · .3 + .02 · 15
1.38
>>> dollars(used, TeacherPrices(input=3.0, output=15.0)) is None  # what cached tokens cost is not known
True
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from turnmix.core.atomic_file import write_atomically
from turnmix.core.json_text import json_text, read_json_file
from turnmix.core.own_file import open_own_directory
from turnmix.core.settings import Settings
from turnmix.core.usage import Usage
from turnmix.store.analysis_directory import ANALYSES
from turnmix.store.records import Record, checked

PRICES = "prices.json"
_PER = 1_000_000


class TeacherPrices(Settings):
    """What the endpoint of a run's teacher takes, in dollars per million tokens."""

    input: float = Field(ge=0)
    """Of the prompt, but for what was cached."""
    cached: float | None = Field(default=None, ge=0)
    """Of the prompt: what the endpoint had read before. Left out: not known; where any was cached, no money is told."""
    output: float = Field(ge=0)
    """Of the answers."""


_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _PricesRecord(Record):
    input: _Price
    cached: _Price | None = None
    output: _Price


def dollars(used: Usage, prices: TeacherPrices) -> float | None:
    """None: a price that it takes is not known, or the endpoint did not tell its tokens."""
    if used.requests and not used.input_tokens + used.output_tokens:
        return None
    if used.cached_tokens and prices.cached is None:
        return None
    plain = max(0, used.input_tokens - used.cached_tokens) * prices.input
    return (plain + used.cached_tokens * (prices.cached or 0.0) + used.output_tokens * prices.output) / _PER


def keep_prices(run: Path, prices: TeacherPrices) -> None:
    """Raises OSError: they cannot be written."""
    descriptor = open_own_directory(run / ANALYSES, is_made=True)
    try:
        text = json_text(prices.model_dump(), indent=2) + "\n"
        write_atomically(run / ANALYSES / PRICES, text, directory=descriptor)
    finally:
        os.close(descriptor)


def kept_prices(run: Path) -> TeacherPrices | None:
    """None: they were never said. Raises UserError: what is kept is damaged."""
    path = run / ANALYSES / PRICES
    if not os.path.lexists(path):
        return None
    fix = "delete it, and say the prices again with --price"
    data: Mapping[str, Any] = checked(read_json_file(path, fix=fix), _PricesRecord, where=str(path), fix=fix)
    return TeacherPrices.model_validate({name: data.get(name) for name in TeacherPrices.model_fields})
