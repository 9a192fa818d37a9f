"""A sandbox in which an image's own environment is the current one, in every command and in the agent's shell.

In: a sandbox, and the shell commands that activate the environment. They run once, at the start; what they
changed among the variables is set for everything after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.sandbox import CommandResult, Sandbox, Terminal

OWN = ("PS1", "PWD", "OLDPWD", "SHLVL", "_", "SANDBOX_JOB", "TERM")
"""Variables of a shell itself."""
SHOW = "cat /proc/self/environ"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ActivatedSandbox:
    """`sandbox`, with an environment activated."""

    def __init__(self, sandbox: Sandbox, *, activation: str) -> None:
        self._sandbox = sandbox
        self._activation = activation
        self._variables: dict[str, str] = {}

    async def start(self) -> None:
        await self._sandbox.start()
        plain = _variables((await self._sandbox.run(SHOW)).output)
        # What it prints goes elsewhere, and a complaint of one of its parts is no failure: the variables tell.
        script = f"{{ {self._activation}\n}} >/tmp/turnmix-activation 2>&1; exec {SHOW}"
        result = await self._sandbox.run("exec bash -s", stdin=script.encode(), timeout=120.0)
        active = _variables(result.output)
        if result.exit_code != 0 or "PATH" not in active:
            told = result.output[-300:].decode(errors="replace")
            raise SandboxError(f"`{self._activation}`: exit code {result.exit_code}: {told}")
        self._variables = {
            name: value for name, value in active.items() if plain.get(name) != value and name not in OWN
        }

    async def run(
        self,
        command: str,
        *,
        working_directory: str = "/",
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float = 60.0,
        output_limit: int = 16 << 20,
    ) -> CommandResult:
        return await self._sandbox.run(
            command,
            working_directory=working_directory,
            environment={**self._variables, **(environment or {})},
            stdin=stdin,
            timeout=timeout,
            output_limit=output_limit,
        )

    async def open_terminal(
        self, *, working_directory: str, environment: Mapping[str, str] | None = None
    ) -> Terminal:
        return await self._sandbox.open_terminal(
            working_directory=working_directory, environment={**self._variables, **(environment or {})}
        )

    async def read_file(self, path: str, *, limit: int = 16 << 20) -> bytes:
        return await self._sandbox.read_file(path, limit=limit)

    async def write_file(self, path: str, content: bytes) -> None:
        await self._sandbox.write_file(path, content)

    def pause_lifetime(self) -> None:
        self._sandbox.pause_lifetime()

    def resume_lifetime(self) -> None:
        self._sandbox.resume_lifetime()

    async def stop(self) -> None:
        await self._sandbox.stop()


def _variables(environment: bytes) -> dict[str, str]:
    """Those that a shell can set: not the functions that bash exports.

    >>> _variables(b"A=1\\0B=x=y\\0BASH_FUNC_module%%=() { :; }\\0")
    {'A': '1', 'B': 'x=y'}
    """
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in environment.split(b"\0"))
    return {name: value for name, found, value in pairs if found and _NAME.fullmatch(name)}
