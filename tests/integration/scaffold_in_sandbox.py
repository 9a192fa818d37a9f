"""One scaffold in one real sandbox of each kind, for tests that call its tools.

A test module that imports `any_sandbox` has each of its tests run in every kind of sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import container_runtime
import pytest

from turnmix.core.errors import MissingDependencyError
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.sandbox import Limits, Sandbox
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import Scaffold, ScaffoldSettings

WORKSPACE = "/testbed"
PATIENT = 120
"""Seconds in which whatever comes at all has come, also where this machine has much else to do."""
try:
    BubblewrapSettings().check()
    MISSING = ""
except MissingDependencyError as error:
    MISSING = str(error)
needs_sandbox = pytest.mark.skipif(bool(MISSING), reason=MISSING)
_makers: list[Callable[[Limits | None], Sandbox]] = [BubblewrapSandbox]


@pytest.fixture(
    autouse=True,
    params=[
        pytest.param(BubblewrapSandbox, id="bubblewrap", marks=needs_sandbox),
        pytest.param(
            container_runtime.make_container, id="container", marks=container_runtime.needs_containers
        ),
    ],
)
def any_sandbox(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both kinds of sandbox, one after the other."""
    _makers.append(request.param)
    yield
    _makers.pop()


def new_sandbox(limits: Limits | None = None) -> Sandbox:
    """A sandbox of the kind under test, not started."""
    return _makers[-1](limits)


def call(name: str, /, **arguments: Any) -> Action:
    calls = (ToolCall(id="call_0", name=name, arguments=arguments),)
    return Action(message=Message(role="assistant", content="", tool_calls=calls))


class World:
    def __init__(self, sandbox: Sandbox, scaffold: Scaffold) -> None:
        self.sandbox = sandbox
        self.scaffold = scaffold

    async def bash(self, command: str, **arguments: Any) -> str:
        return await self._call("execute_bash", command=command, **arguments)

    async def bash_until(self, said: str, command: str, **arguments: Any) -> str:
        """A command that does not end, waited for until it has `said` something; the observation with that in it."""
        observation = await self.bash(command, **arguments)
        while said not in observation:
            assert "still running" in observation, observation
            observation = await self.bash("")
        return observation

    async def edit(self, command: str, path: str, **arguments: Any) -> str:
        return await self._call("str_replace_editor", command=command, path=path, **arguments)

    async def _call(self, name: str, **arguments: Any) -> str:
        (message,) = (await self.scaffold.execute(call(name, **arguments))).observation
        return message.content


def in_world(
    test: Callable[[World], Awaitable[None]],
    *,
    limits: Limits | None = None,
    sandbox: Sandbox | None = None,
    **settings: Any,
) -> None:
    """Run `test` in a fresh sandbox, of the kind under test or as given, with its own scaffold."""

    async def run() -> None:
        chosen = sandbox or new_sandbox(limits)
        scaffold = Scaffold(
            settings=ScaffoldSettings(**settings), sandbox=chosen, working_directory=WORKSPACE
        )
        await chosen.start()
        try:
            await test(World(chosen, scaffold))
        finally:
            await scaffold.close()
            await chosen.stop()

    asyncio.run(asyncio.wait_for(run(), 5 * PATIENT))
