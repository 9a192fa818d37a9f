"""What the files of an analysis hold, as whoever reads them relies on it: see `records`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from turnmix.store.records import Count, EvaluationRecord, Figure, Record

Nats = Annotated[float, Field(ge=0, le=1e12)]


class AnalysisRecord(EvaluationRecord):
    """`analysis.json`."""

    num_tasks: Annotated[int, Field(ge=1, le=1 << 53)]


class _TurnScore(Record):
    label_kind: str | None = None
    label_tokens: Count | None = None
    label_nll: Nats | None = None
    is_greedy: bool | None = None
    reverse_kl: Figure | None = None
    reverse_kl_tokens: Count | None = None

    @model_validator(mode="after")
    def _check_tokens(self) -> _TurnScore:
        for nats, tokens in (("label_nll", "label_tokens"), ("reverse_kl", "reverse_kl_tokens")):
            if getattr(self, nats) is not None and not getattr(self, tokens):
                raise ValueError(f"{nats} is {getattr(self, nats):g}, and {tokens} {getattr(self, tokens)}")
        return self


class TurnScoresRecord(Record):
    """A line of `own-scores.jsonl` and its like."""

    id: str
    turns: list[_TurnScore | None]
