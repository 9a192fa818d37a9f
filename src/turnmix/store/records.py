"""What the files of a run hold, as whoever reads them relies on it: the run may be somebody else's.

In: a JSON value. Out: the same value, once it has the types that it must have; or one line that says where it has not.
Further keys are nobody's concern. Numbers that count are those that a float holds exactly, so that a share of them can
be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line

Count = Annotated[int, Field(ge=0, le=1 << 53)]
Figure = Annotated[float, Field(allow_inf_nan=False)]
Counts = dict[str, Count]


class Record(BaseModel):
    """What is said to be a number is one, not a text that spells one."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class _Usage(Record):
    requests: Count
    retries: Count
    input_tokens: Count
    cached_tokens: Count
    output_tokens: Count


Usages = dict[str, _Usage]


class ToolFaultRecord(Record):
    tool: str
    place: str
    error: str


class _CountedToolFault(ToolFaultRecord):
    count: Count


class VerdictRecord(Record):
    """Of a trajectory, and of a book of verdicts. What a world says beside has no form here."""

    resolved: bool
    reward: Figure | None = None
    details: dict[str, Any] = {}


class ScoreRecord(Record):
    """A line of `scores.jsonl`."""

    id: str
    logprobs: list[list[float | None] | None]
    usage: Counts = {}


class _Drift(Record):
    turns: Count = 0
    differing: Count = 0


class _ControlTexts(Record):
    as_text: Count = 0
    as_tokens: Count = 0


class _Teacher(Record):
    answers: Count
    calls: Count | None
    acted: Count
    resolved: Count


class _Objective(Record):
    first_step_clip_share: Figure = 0.0
    groups_without_spread: Count = 0


class _Passes(Record):
    budget_rows: Count = 0
    ranks: Count = 0
    rows: Count = 0
    repeated_rows: Count = 0
    idle_rows: Count = 0
    largest_rows: Count = 0
    longest_rows: Count = 0
    largest_tree_rows: Count = 0


class EvaluationFigures(Record):
    """What an `evaluate` stage recorded."""

    resolved: Count
    n: Count
    low: Figure
    high: Figure
    unfinished: Count = 0
    unfinished_are: str = ""
    mean_reward: Figure | None = None
    stop_reasons: Counts = {}
    infra_errors: Count = 0
    usage: Usages = {}
    tool_faults: list[_CountedToolFault] = []

    @model_validator(mode="after")
    def _check_counts(self) -> EvaluationFigures:
        if self.resolved > self.n:
            raise ValueError(f"resolved is {self.resolved}, of n = {self.n} tasks")
        return self


class ResultsRecord(EvaluationFigures):
    """`results.json`."""

    mean_turns: Figure | None
    stop_reasons: Counts
    infra_errors: Count


class _RolloutFigures(Record):
    beta: Figure | None = None
    realised_beta: Figure | None = None
    rollouts: Count = 0
    resolved: Count | None = 0
    infra_errors: Count = 0
    drift: _Drift | None = None
    teacher: _Teacher | None = None
    control_texts: _ControlTexts | None = None
    usage: Usages | None = None
    tool_faults: list[_CountedToolFault] | None = None
    accidents: Count | None = None
    workers: dict[str, Counts] | None = None


class _TrainFigures(Record):
    kept: Count | None = None
    labels: Count | None = None
    dropped_too_long: Count | None = None
    untaught: Counts | None = None
    logprobs_missing: Counts | None = None
    scoring_usage: Usages | None = None
    loss: Figure | None = None
    passes: _Passes | None = None
    objective: _Objective | None = None
    step_losses: list[Figure | None] = []


STAGES: Mapping[str, type[Record]] = {
    "rollout": _RolloutFigures,
    "train": _TrainFigures,
    "evaluate": EvaluationFigures,
}
"""What a line of `metrics.jsonl` holds of a stage of each kind."""


class _Row(_RolloutFigures, _TrainFigures):
    iteration: Count
    beta: Figure | None
    realised_beta: Figure | None
    labels: Count | None
    loss: Figure | None
    rollouts: Count
    resolved: Count | None
    infra_errors: Count
    eval: EvaluationFigures | None


class SummaryRecord(Record):
    """`summary.json`."""

    method: str
    seed: int
    is_complete: bool
    base: EvaluationFigures | None
    iterations: list[_Row]
    drift: _Drift = _Drift()
    control_texts: _ControlTexts = _ControlTexts()
    wall_seconds: Annotated[float, Field(ge=0, le=1e12)]


class ClockRecord(Record):
    """`clock.json`."""

    wall_seconds: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    stages: dict[str, Annotated[float, Field(ge=0, le=1e12)]] = {}


class EvaluationRecord(Record):
    """`evaluation.json`."""

    student: str
    weights: str | None = None
    recipe: str = ""


class VersionsRecord(Record):
    """`versions.json`."""

    begun: str | None = None
    plugins: dict[str, str] = {}


class TrackersRecord(Record):
    """`trackers.json`, as `ids`."""

    ids: dict[str, str]


def checked(data: Any, schema: type[Record], *, where: str, fix: str) -> Any:
    """`data`, once it is what `schema` says. Raises UserError, with the `fix`: it is not."""
    try:
        schema.model_validate(data)
    except (ValidationError, RecursionError) as error:
        raise UserError(f"{where} is damaged ({_first(error)}): {fix}") from None
    return data


def _first(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "nested without end"
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, fault["loc"]))
    told = fault["msg"].removeprefix("Value error, ")
    return printable_line(f"{where}: {told}" if where else told)
