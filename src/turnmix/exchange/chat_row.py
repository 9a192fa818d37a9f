"""In: a row of chat messages. Out: a trajectory that teaches its assistant messages.

Rows in the shapes of others: `messages`, as OpenAI, TRL and SWE-smith have them, also as a JSON text; `prompt` and
`completion` of TRL; ShareGPT's `conversations`; `trajectory`. An assistant message that is not to be learned is what
happened between others, so it stands among the observations, and no method can teach it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.printable import printable_line
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.core.verdict import Verdict
from turnmix.exchange.chat_message import ReadMessage, json_object, json_within, read_message
from turnmix.exchange.row_files import RowError, kind_of

COLUMNS = ("messages", "conversations", "trajectory")
_TASKS = ("task_id", "instance_id")
_MOST_NAMED = 12


def trajectory_of(
    row: Mapping[str, Any], *, name: str, tools: tuple[ToolSpecification, ...] = ()
) -> Trajectory:
    """`name`: of its task, where the row gives none; `tools`: those of a row that describes none. Its id is its task's.

    Raises:
        RowError: the row is no conversation of which something can be learned.
    """
    messages = _paired(_messages(row))
    known = _tools(row) or tools
    first = next((index for index, each in enumerate(messages) if each.is_trained), None)
    if first is None:
        raise RowError("messages", "no assistant message is to be learned: give one, or leave the row out")
    if first == 0:
        raise RowError("messages", "begins with the assistant: put what it answers before it")
    if not known and any(each.message.tool_calls for each in messages):
        raise RowError(
            "tools",
            "is missing, though tools are called: add the tools as the agent is told of them, or name a JSON file of "
            "them with data.tools",
        )
    task = next((row[column] for column in _TASKS if isinstance(row.get(column), str)), name)
    return Trajectory(
        id=task,
        task_id=task,
        iteration=1,
        seed=0,
        tools=known,
        prompt=tuple(each.message for each in messages[:first]),
        turns=tuple(_turns(messages[first:])),
        stop_reason=StopReason.finished,
        verdict=_verdict(row),
    )


def read_tools(value: Any, field: str) -> tuple[ToolSpecification, ...]:
    """Tools as OpenAI describes them, or their functions alone. Raises RowError."""
    found = json_within(value, field)
    if not isinstance(found, list):
        raise RowError(field, f"is {kind_of(found)}: write a list of tools")
    return tuple(
        _tool(json_within(each, f"{field}[{index}]"), f"{field}[{index}]") for index, each in enumerate(found)
    )


def _messages(row: Mapping[str, Any]) -> list[ReadMessage]:
    column = next((name for name in COLUMNS if row.get(name)), None)
    if column is not None:
        return [*_system(row), *_read(row[column], column, is_trained=True)]
    if (column := next((name for name in COLUMNS if row.get(name) == []), None)) is not None:
        raise RowError(column, "holds no message: give some, or leave the row out")
    if "prompt" in row and "completion" in row:
        return [
            *_read(row["prompt"], "prompt", is_trained=False),
            *_read(row["completion"], "completion", is_trained=True),
        ]
    named = ", ".join(map(printable_line, list(map(str, row))[:_MOST_NAMED])) or "none"
    raise RowError("messages", f"is missing (the row has: {named}): give messages, or prompt and completion")


def _system(row: Mapping[str, Any]) -> list[ReadMessage]:
    """ShareGPT's rows may hold the system prompt in a column of its own."""
    if "conversations" not in row or not row.get("system"):
        return []
    return [read_message({"role": "system", "content": row["system"]}, field="system")]


def _read(value: Any, column: str, *, is_trained: bool) -> list[ReadMessage]:
    """`is_trained`: of assistant messages of which the row does not say it."""
    if isinstance(value, str) and column in ("prompt", "completion") and not value.lstrip().startswith("["):
        raise RowError(column, "is a text without roles: give a list of messages")
    found = json_within(value, column)
    if not isinstance(found, list):
        raise RowError(column, f"is {kind_of(found)}: write a list of messages")
    read = [read_message(each, field=f"{column}[{index}]") for index, each in enumerate(found)]
    return [
        replace(each, is_trained=is_trained if each.is_trained is None else each.is_trained)
        if each.message.role == "assistant"
        else each
        for each in read
    ]


def _paired(messages: Sequence[ReadMessage]) -> list[ReadMessage]:
    """Each tool's message with the call that it answers: as it says, or in the order of the calls."""
    paired: list[ReadMessage] = []
    open_calls: list[str] = []
    for each in messages:
        message = each.message
        if message.role == "assistant":
            open_calls = [call.id for call in message.tool_calls]
        elif message.role == "tool" and message.tool_call_id is None and open_calls:
            each = replace(each, message=replace(message, tool_call_id=open_calls.pop(0)))
        elif message.tool_call_id in open_calls:
            open_calls.remove(str(message.tool_call_id))
        paired.append(each)
    return paired


def _turns(messages: Sequence[ReadMessage]) -> list[Turn]:
    turns: list[Turn] = []
    action: Action | None = None
    observation: list[Message] = []
    for each in [*messages, None]:
        if each is not None and not each.is_trained:
            observation.append(each.message)
            continue
        if action is not None:
            turns.append(Turn(actor="teacher", action=action, observation=tuple(observation), label=action))
        if each is not None:
            action, observation = Action(message=each.message), []
    return turns


def _tools(row: Mapping[str, Any]) -> tuple[ToolSpecification, ...]:
    name = next((name for name in ("tools", "functions") if row.get(name)), None)
    return () if name is None else read_tools(row[name], name)


def _tool(data: Any, field: str) -> ToolSpecification:
    function = data.get("function", data) if isinstance(data, Mapping) else None
    if not isinstance(function, Mapping):
        raise RowError(field, "is no tool: write name, description and parameters")
    name, description = function.get("name"), function.get("description") or ""
    parameters = json_within(function.get("parameters") or {}, f"{field}.parameters")
    if not isinstance(name, str) or not name:
        raise RowError(f"{field}.name", "is missing: write the tool's name")
    if not isinstance(description, str):
        raise RowError(f"{field}.description", "is no text: write one")
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise RowError(f"{field}.parameters", "is no JSON schema of type object: write one")
    schema = dict(parameters) if parameters else {"type": "object", "properties": {}}
    return ToolSpecification(
        name=name, description=description, parameters=json_object(schema, f"{field}.parameters")
    )


def _verdict(row: Mapping[str, Any]) -> Verdict | None:
    """Whether the task was resolved, where the row says it by true and false, or by 1 and 0."""
    resolved = row.get("resolved")
    if resolved not in (0, 1):
        return None
    return Verdict(resolved=bool(resolved))
