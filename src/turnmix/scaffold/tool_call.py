"""One call of one tool: whatever the agent wrote and whatever the tool does, there is an answer, in time.

In: a tool in its trajectory, and any JSON. Out: printable text of a bounded length, and the tool's fault if it failed.
A tool may be anybody's code: it may raise anything, end the process, never return, or return what is no text.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnmix.core.errors import InfrastructureError
from turnmix.core.message import ToolSpecification
from turnmix.core.plugins import telling_faults
from turnmix.core.tool_fault import ToolFault
from turnmix.rendering.schema import object_schema
from turnmix.scaffold.arguments import ArgumentError
from turnmix.scaffold.fault_words import ToolTimeout, fault_of, told_to_agent
from turnmix.scaffold.observation import error, is_error, observation_text
from turnmix.scaffold.tool import Tool, ToolParts

GRACE_SECONDS = 5.0
"""For a call to stop, once it is told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """What a call led to."""

    content: str
    ends_trajectory: bool = False
    fault: ToolFault | None = None
    """The tool failed; the agent is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a tool's code returned, or raised."""

    value: Any = None
    failure: BaseException | None = None


async def answer(tool: Tool, arguments: Any) -> ToolAnswer:
    """Check `arguments` and call the tool. Raises InfrastructureError only."""
    specification = tool.specification
    outcome = await _guarded(lambda: tool.arguments.read(arguments))
    if outcome.failure is None:
        outcome = await _called(tool, outcome.value)
    if isinstance(outcome.failure, ArgumentError):
        return ToolAnswer(content=error(f"{outcome.failure}\nExpected: {signature(specification)}"))
    if isinstance(outcome.failure, InfrastructureError):
        raise outcome.failure
    content = outcome.value
    if outcome.failure is None:
        outcome = await _guarded(lambda: bool(tool.ends_trajectory) and not is_error(content))
    if outcome.failure is None:
        return ToolAnswer(content=content, ends_trajectory=outcome.value)
    directory = tool.parts.working_directory
    told = told_to_agent(outcome.failure, arguments=arguments, working_directory=directory)
    return ToolAnswer(
        content=error(f"The tool {specification.name} failed: {told}"),
        fault=fault_of(outcome.failure, tool=specification.name, kind=type(tool)),
    )


def opened(tool: Tool, parts: ToolParts) -> Tool:
    """The tool for one trajectory. Raises PluginError: its own code fails as it is copied."""
    with telling_faults(tool.kind):
        return tool.opened(parts)


async def close(tool: Tool) -> None:
    """Let a tool free what it holds; what fails in it then bears on nothing. Raises InfrastructureError only."""
    seconds = None if tool.is_bounded else GRACE_SECONDS
    outcome = await _within(seconds, _guarded(tool.close))
    if isinstance(outcome.failure, InfrastructureError):
        raise outcome.failure


def signature(specification: ToolSpecification) -> str:
    """A tool's call in one line: required arguments first, optional ones in brackets."""
    members = object_schema(specification.parameters)
    names = [name for name in members.properties if name in members.required]
    names += [f"[{name}]" for name in members.properties if name not in members.required]
    return f"{specification.name}({', '.join(names)})"


async def _called(tool: Tool, given: Mapping[str, Any]) -> _Outcome:
    """What the agent is answered."""
    seconds = None if tool.is_bounded else tool.parts.hard_timeout_seconds
    limit = None if tool.is_bounded else tool.parts.max_observation_characters

    async def awaited(value: Awaitable[Any]) -> str:
        return observation_text(await value, limit=limit)

    def plain() -> Any:
        value = tool.call(**given)
        return value if inspect.isawaitable(value) else observation_text(value, limit=limit)

    if inspect.iscoroutinefunction(tool.call):
        return await _within(seconds, _guarded(lambda: awaited(tool.call(**given))))
    outcome = await _within(seconds, _in_thread(plain))
    value = outcome.value
    return await _within(seconds, _guarded(lambda: awaited(value))) if inspect.isawaitable(value) else outcome


async def _within(seconds: float | None, outcome: Awaitable[_Outcome]) -> _Outcome:
    """What does not end in time is left behind: it may never end."""
    task = asyncio.ensure_future(outcome)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        return _Outcome(failure=ToolTimeout(f"it gave no answer within {seconds:g} seconds"))
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE_SECONDS)


async def _guarded(call: Callable[[], Any]) -> _Outcome:
    """Nothing that the call raises comes through, were it to end the process or to pass for a cancellation."""
    try:
        value = call()
        return _Outcome(value=await value if inspect.iscoroutine(value) else value)
    except (Exception, SystemExit, GeneratorExit, asyncio.CancelledError) as failure:
        return _Outcome(failure=failure)


def _in_thread(call: Callable[[], Any]) -> asyncio.Future[_Outcome]:
    """A thread that nothing waits for when the process ends: it may never return."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Outcome] = loop.create_future()
    context = contextvars.copy_context()

    def settle(outcome: _Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    def run() -> None:
        try:
            outcome = _Outcome(value=context.run(call))
        except BaseException as failure:
            outcome = _Outcome(failure=failure)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="tool", daemon=True).start()
    return future
