"""One scaffold in one real sandbox, for tests that call its tools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from turnmix.core.errors import MissingDependencyError
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.sandbox import Limits
from turnmix.sandboxes.selection import SandboxSettings, check_sandbox
from turnmix.scaffold.scaffold import Scaffold, ScaffoldSettings

WORKSPACE = "/testbed"
try:
    check_sandbox(SandboxSettings())
    MISSING = ""
except MissingDependencyError as error:
    MISSING = str(error)
needs_sandbox = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def call(name: str, /, **arguments: Any) -> Action:
    calls = (ToolCall(id="call_0", name=name, arguments=arguments),)
    return Action(message=Message(role="assistant", content="", tool_calls=calls))


class World:
    def __init__(self, sandbox: BubblewrapSandbox, scaffold: Scaffold) -> None:
        self.sandbox = sandbox
        self.scaffold = scaffold

    async def bash(self, command: str, **arguments: Any) -> str:
        return await self._call("execute_bash", command=command, **arguments)

    async def edit(self, command: str, path: str, **arguments: Any) -> str:
        return await self._call("str_replace_editor", command=command, path=path, **arguments)

    async def _call(self, name: str, **arguments: Any) -> str:
        (message,) = (await self.scaffold.execute(call(name, **arguments))).observation
        return message.content


def in_world(
    test: Callable[[World], Awaitable[None]], *, limits: Limits | None = None, **settings: Any
) -> None:
    """Run `test` in a fresh sandbox with its own scaffold."""

    async def run() -> None:
        sandbox = BubblewrapSandbox(limits or Limits())
        scaffold = Scaffold(
            settings=ScaffoldSettings(**settings), sandbox=sandbox, working_directory=WORKSPACE
        )
        await sandbox.start()
        try:
            await test(World(sandbox, scaffold))
        finally:
            await scaffold.close()
            await sandbox.stop()

    asyncio.run(asyncio.wait_for(run(), 60))
