"""The harness with which TurnMix plays a taskset of verifiers: a chat loop in this process that acts as it is told.

In: what verifiers gives a harness. Out: nothing; each model call goes through verifiers' own server, which applies the
taskset's stop conditions and keeps the trace that its rewards read. Imported only where verifiers is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import httpx
from verifiers.v1.configs.harness import HarnessConfig
from verifiers.v1.dialects.chat import message_to_wire
from verifiers.v1.harness import Harness
from verifiers.v1.harnesses.utils.compaction import bound_tool_message
from verifiers.v1.harnesses.utils.mcp import call_mcp, connect_mcp
from verifiers.v1.runtimes import ProgramResult

from turnmix.core.json_text import json_value
from turnmix.environments.verifiers.exchange import EXCHANGES

__all__ = ["TurnMixHarness"]


class TurnMixHarnessConfig(HarnessConfig):  # type: ignore[misc]
    """It has no settings of its own."""


class TurnMixHarness(Harness[TurnMixHarnessConfig]):  # type: ignore[misc]
    """Asks, carries out the calls, and asks again, until a turn has no call."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_MCP = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: Mapping[str, str],
        data: Any,
    ) -> Any:
        exchange = EXCHANGES[trace.id]
        system, prompt = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}] if system else []
        if isinstance(prompt, str):
            messages.append({"role": "user", "content": prompt})
        elif prompt is not None:
            messages += [message_to_wire(message) for message in prompt]
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                httpx.AsyncClient(
                    headers={"Authorization": f"Bearer {secret}"}, timeout=None, trust_env=False
                )
            )
            tools, dispatch, servers = [], {}, {}
            if mcp_urls:
                told = {
                    name: {"url": url, "timeout": self.config.tool_timeout} for name, url in mcp_urls.items()
                }
                tools, dispatch, servers = await connect_mcp({"mcpServers": told}, stack, set())
            while True:
                exchange.messages = messages
                body = {"model": ctx.model, "messages": messages, **({"tools": tools} if tools else {})}
                asking = asyncio.ensure_future(client.post(f"{endpoint}/chat/completions", json=body))
                stopping = asyncio.ensure_future(exchange.stopped.wait())
                await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                if exchange.stopped.is_set():
                    asking.cancel()
                    trace.stop(exchange.stopped_by)
                    break
                response = await asking
                if response.status_code != 200:
                    return ProgramResult(exit_code=1, stdout="", stderr=response.text)
                answer = json_value(response.content)["choices"][0]["message"]
                messages = [*messages, answer]
                calls = answer.get("tool_calls") or []
                for call in calls:
                    content = await _carried_out(call, dispatch, servers)
                    name = call["function"]["name"]
                    message = {"role": "tool", "tool_call_id": call["id"], "content": content, "name": name}
                    messages = [*messages, bound_tool_message(message)]
                exchange.messages = messages
                if not calls:
                    break
        return ProgramResult(exit_code=0, stdout="", stderr="")


async def _carried_out(call: Mapping[str, Any], dispatch: Any, servers: Any) -> Any:
    name = call["function"]["name"]
    try:
        arguments = json_value(call["function"]["arguments"] or "{}")
    except ValueError as error:
        return f"error: the arguments are no JSON ({error})"
    if not isinstance(arguments, dict):
        return f"error: the arguments are a {type(arguments).__name__}, not a JSON object"
    if name not in dispatch:
        return f"error: there is no tool {name!r}: use one of {', '.join(dispatch)}"
    return await call_mcp(servers, dispatch, name, arguments)
