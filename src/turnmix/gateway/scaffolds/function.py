"""A scaffold that is a function of the user's own: `package.module:Function`.

In: the function, and one trajectory's work. Out: what it returns, as its report. A coroutine function runs in the event
loop; a plain one in a thread of its own, which nothing can end: once its time is over, the session refuses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from turnmix.core.errors import PluginError, UserError
from turnmix.core.plugins import telling_faults
from turnmix.core.task import Task
from turnmix.gateway.scaffolds.report import verdict_of
from turnmix.gateway.scaffolds.work import MODEL, ScaffoldEnd, ScaffoldWork
from turnmix.sandboxes.sandbox import CommandResult, Sandbox

COMMAND_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaffoldCall:
    """What a function is called with, for one trajectory."""

    task: Task
    model: str
    base_url: str
    """For clients of OpenAI's kind."""
    anthropic_base_url: str
    key: str
    seed: int
    """For what it draws itself."""
    working_directory: str | None
    """Of the task, in its sandbox; None: it has none."""
    run: Callable[..., Any]
    """`run(command, timeout=120)` runs a line of shell in the task's sandbox. A coroutine function awaits it, a plain
    one calls it. It gives the exit code, None where the time was over, and the output, as bytes."""
    say: Callable[[str], None]
    """Writes into the trajectory's log."""


class FunctionScaffold:
    """Calls a function once a trajectory."""

    def __init__(self, function: Callable[[ScaffoldCall], Any], *, name: str) -> None:
        self._function = function
        self._name = name

    async def __call__(self, work: ScaffoldWork) -> ScaffoldEnd:
        """Raises PluginError: the function failed, or returned what is no report."""
        loop = asyncio.get_running_loop()
        is_async = inspect.iscoroutinefunction(self._function)

        async def run(command: str, timeout: float = COMMAND_SECONDS) -> CommandResult:
            return await _sandbox(work).run(
                command, working_directory=_directory(work) or "/", timeout=timeout
            )

        def run_blocking(command: str, timeout: float = COMMAND_SECONDS) -> CommandResult:
            return asyncio.run_coroutine_threadsafe(run(command, timeout), loop).result()

        call = ScaffoldCall(
            task=work.task,
            model=MODEL,
            base_url=work.session.base_url,
            anthropic_base_url=work.session.anthropic_base_url,
            key=work.session.key,
            seed=work.seed,
            working_directory=_directory(work),
            run=run if is_async else run_blocking,
            say=lambda line: work.log.write(f"{line}\n".encode("utf-8", "replace")),
        )
        with telling_faults(self._name):
            returned = await (self._function(call) if is_async else _in_thread(self._function, call))
        if returned is not None:
            self._check(returned)
        return ScaffoldEnd(report=returned)

    def _check(self, report: Any) -> None:
        try:
            if not isinstance(report, Mapping):
                raise ValueError(f"it is {report!r:.100}: return a mapping, or None")
            verdict_of(report)
        except ValueError as error:
            raise PluginError(f"{self._name}: what it returned is no report: {error}") from error


def _sandbox(work: ScaffoldWork) -> Sandbox:
    if work.place is None:
        raise UserError(f"task {work.task.id} has no sandbox to run a command in")
    return work.place.sandbox


def _directory(work: ScaffoldWork) -> str | None:
    return None if work.place is None else work.place.working_directory


def _in_thread(function: Callable[[ScaffoldCall], Any], call: ScaffoldCall) -> Awaitable[Any]:
    """What the function returns. Its thread does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = function(call)
        except BaseException as raised:  # it is raised where it is waited for
            error = raised
        with contextlib.suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="turnmix-scaffold", daemon=True).start()
    return outcome
