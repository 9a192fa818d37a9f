"""What a line of `trajectories.jsonl` and of `evaluations.jsonl` holds, as whoever reads it relies on it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from turnmix.core.message import Role
from turnmix.core.trajectory import StopReason
from turnmix.store.records import Count, Counts, Figure, Record, ToolFaultRecord, VerdictRecord


class _Function(Record):
    name: str
    arguments: dict[str, Any]


class _Call(Record):
    id: str
    function: _Function


class MessageRecord(Record):
    role: Role
    content: str
    tool_calls: list[_Call] = Field(default_factory=list)
    tool_call_id: str | None = None


class _ProviderFields(Record):
    provider: str
    message: dict[str, Any]
    calls: list[dict[str, Any]]


class ActionRecord(Record):
    message: MessageRecord
    parse_error: str | None = None
    token_ids: list[Count] | None = None
    logprobs: list[float | None] | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    cached_tokens: Count | None = None
    stop_text: str | None = None
    provider_fields: _ProviderFields | None = None


class ToolRecord(Record):
    name: str
    description: str
    parameters: dict[str, Any]


class _Opening(Record):
    after: Count | None
    shared: Count | None = None
    messages: list[Count | MessageRecord] = Field(default_factory=list)
    tools: list[ToolRecord] | None = None


class FormRecord(Record):
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    stop: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    others: dict[str, Any] = Field(default_factory=dict)


class _Turn(Record):
    actor: Literal["student", "teacher", "accident"]
    action: ActionRecord
    observation: list[MessageRecord]
    label: Literal["executed"] | ActionRecord | None = None
    seconds: dict[str, Figure] = Field(default_factory=dict)
    tool_faults: list[ToolFaultRecord] = Field(default_factory=list)
    opening: _Opening | None = None
    form: FormRecord = Field(default_factory=FormRecord)
    is_rejected: bool = False
    repeats: Count = 0


class TrajectoryRecord(Record):
    """A line of `trajectories.jsonl` and of `evaluations.jsonl`."""

    id: str
    task_id: str
    iteration: Count
    seed: int
    beta: Figure | None
    stop_reason: Literal[tuple(reason.value for reason in StopReason)]  # type: ignore[valid-type]
    verdict: VerdictRecord | None
    error: str | None
    attempts: Count
    usage: dict[str, Counts] = Field(default_factory=dict)
    tools: list[ToolRecord]
    prompt: list[MessageRecord]
    turns: list[_Turn]
