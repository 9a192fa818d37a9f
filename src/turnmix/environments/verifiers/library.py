"""verifiers in a thread and an event loop of its own, so that nothing in it can block TurnMix's.

In: an environment's name and arguments. Out: its tasks; rollouts of them, each asking for one turn after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
import threading
from collections.abc import Coroutine, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar

from turnmix.core.errors import UserError
from turnmix.core.json_text import json_value
from turnmix.environments.optional_library import optional_library
from turnmix.environments.verifiers.exchange import EXCHANGES, Exchange

Result = TypeVar("Result")
_HARNESS = "turnmix_verifiers_harness"
"""The name by which verifiers imports ours."""


def verifiers_loaders() -> ModuleType:
    """What finds tasksets by their names. Raises MissingDependencyError."""
    return optional_library(
        "verifiers.v1.utils.loaders", source="verifiers", extra="verifiers", package="verifiers >= 0.4"
    )


class Library:
    """One environment of verifiers."""

    def __init__(
        self,
        environment: str,
        arguments: Mapping[str, Any],
        *,
        max_turns: int,
        most_tasks: int,
        scoring_seconds: float,
    ) -> None:
        """Raises UserError: there is none of this name and arguments, or none that TurnMix can play."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="turnmix-verifiers", daemon=True).start()
        self._context: Any = None
        self._opening: asyncio.Task[None] | None = None
        loaders = verifiers_loaders()
        # What libraries print while they load is kept off standard output, which is TurnMix's.
        with contextlib.redirect_stdout(sys.stderr):
            sys.modules[_HARNESS] = importlib.import_module("turnmix.environments.verifiers.harness")
            try:
                config = loaders.resolve_env_config(
                    {
                        "taskset": {"id": environment, **arguments},
                        "agent": {
                            "harness": {"id": _HARNESS},
                            "runtime": {"type": "subprocess"},
                            "max_turns": max_turns,
                            "timeout": {"scoring": scoring_seconds},
                        },
                    }
                )
                self._environment = loaders.load_environment(config)
                taskset = self._environment.taskset
                self.tasks: Sequence[Any] = list(taskset if taskset.bounded else taskset.take(most_tasks))
            except Exception as failed:
                raise UserError(
                    f"tasks.environment: {environment!r}: verifiers gives no taskset by this name and tasks.arguments "
                    f"that one agent plays: {type(failed).__name__}: {' '.join(str(failed).split())[:500]}"
                ) from failed
        if not self.tasks:
            raise UserError(f"tasks.environment: {environment!r}: it has no tasks")

    async def asked(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What `work` returns, done in the library's event loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def begin(self, index: int) -> Exchange:
        """Start a rollout of a task."""
        return await self.asked(self._begin(index))

    async def _begin(self, index: int) -> Exchange:
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        await asyncio.shield(self._opening)
        exchange = Exchange()
        exchange.run = asyncio.ensure_future(self._run(index, exchange))
        return exchange

    async def _run(self, index: int, exchange: Exchange) -> Any:
        from verifiers.v1.env import RunSlot

        def minted(trace: Any) -> None:
            exchange.traces.append(trace.id)
            EXCHANGES[trace.id] = exchange

        try:
            return await self._environment.run_slot(
                RunSlot(self.tasks[index]), self._context, on_trace=minted
            )
        finally:
            for name in exchange.traces:
                EXCHANGES.pop(name, None)
            exchange.asked.put_nowait(False)

    async def _open(self) -> None:
        """Serve the model that verifiers asks, and what it serves itself."""
        from aiohttp import web
        from verifiers.v1.clients import EvalClientConfig, ModelContext
        from verifiers.v1.clients.client import SESSION_ID_HEADER

        async def answer(request: Any) -> Any:
            exchange = EXCHANGES.get(request.headers.get(SESSION_ID_HEADER, ""))
            if exchange is None:
                return web.json_response({"error": {"message": "this rollout is over"}}, status=410)
            message = await exchange.answer(json_value(await request.read()))
            reason = "tool_calls" if message.get("tool_calls") else "stop"
            return web.json_response(
                {
                    "id": "turnmix",
                    "object": "chat.completion",
                    "created": 0,
                    "model": "turnmix",
                    "choices": [{"index": 0, "finish_reason": reason, "message": message}],
                    "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
                }
            )

        application = web.Application(client_max_size=64 * 2**20)
        application.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        client = EvalClientConfig(base_url=f"http://127.0.0.1:{port}/v1", api_key_var="TURNMIX_NO_KEY")
        self._context = ModelContext(model="turnmix", client=client)
        self._serving = self._environment.serving()
        await self._serving.__aenter__()
