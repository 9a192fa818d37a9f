"""`execute_bash`: commands in one persistent shell with its own directory and environment.

A command without new output for a while is left running and can be given input; one that exceeds the hard
limit is interrupted. A shell that ends, cannot be interrupted, or can no longer report what its commands do is
replaced, and the agent is told.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from turnmix.scaffold.observation import clean_terminal_output, encode, error, truncate
from turnmix.scaffold.shell import Outcome, Shell, ShellReport, open_shell
from turnmix.scaffold.shell_line import without_own_lines
from turnmix.scaffold.tool import Tool

KEYS = {"C-c": b"\x03", "C-d": b"\x04", "C-z": b"\x1a"}
INTERRUPT_SECONDS = 1.0
LONGEST_COMMAND = 100_000
LONGEST_TIMEOUT = 86_400.0
RUNNING = (
    "Send an empty command to wait on, or is_input 'true' with the text to type or C-c, C-d, C-z. "
    "A larger timeout waits longer."
)
UNINTERRUPTED = (
    "C-c did not end it. q ends a pager, :q! an editor; an empty command with a small timeout ends anything."
)
UNUSABLE = "What the shell reports by was changed: its prompt, its output or a builtin."


class Bash(Tool):
    """Run a command in a persistent shell. is_input 'true' types into the running command: text, C-c, C-d or C-z."""

    kind: Literal["execute_bash"] = "execute_bash"
    name = "execute_bash"
    is_bounded = True

    _shell: Shell | None = None
    """Opened at the first call."""
    _is_running: bool = False

    async def call(
        self,
        command: str,
        is_input: Literal["true", "false"] | None = None,
        timeout: Annotated[float, Field(description="Seconds.")] | None = None,
    ) -> str:
        if timeout is not None and not 0 < timeout <= LONGEST_TIMEOUT:
            return error(f"Argument `timeout` must be seconds between 0 and {LONGEST_TIMEOUT:.0f}.")
        if "\0" in command:
            return error("Argument `command` must not contain a NUL character.")
        if len(command) > LONGEST_COMMAND:
            return error(
                f"Argument `command` is longer than {LONGEST_COMMAND} characters: make a file instead."
            )
        before = await self._late_ending()
        return before + await self._carry_out(command, is_input == "true", timeout)

    async def close(self) -> None:
        shell, self._shell, self._is_running = self._shell, None, False
        if shell is not None:
            await shell.close()

    async def _late_ending(self) -> str:
        """What a command that was left running printed, if it has ended meanwhile."""
        if self._shell is None or not self._is_running or await self._shell.is_running():
            return ""
        return "[The previous command has ended.]\n" + await self._wait(self._shell, None) + "\n"

    async def _carry_out(self, command: str, is_input: bool, timeout: float | None) -> str:
        is_empty = not command.strip()
        if not self._is_running and (is_input or is_empty):
            return error("No command is running. Give a command, without is_input.")
        if self._is_running and not (is_input or is_empty):
            return error(f"The previous command is still running, so this one was not run. {RUNNING}")
        if self._shell is None:
            self._shell = await self._open()
        if self._shell is None:
            return error("No shell could be started. Too many processes may be running.")
        if self._is_running and not is_empty:
            await self._shell.send(KEYS.get(command.strip()) or encode(command.rstrip("\n") + "\n"))
            observation = await self._wait(self._shell, timeout)
            is_left = self._is_running and command.strip() == "C-c"
            return f"{observation}\n[{UNINTERRUPTED}]" if is_left else observation
        if not self._is_running:
            return await self._begin(self._shell, encode(command), timeout)
        return await self._wait(self._shell, timeout)

    async def _begin(self, shell: Shell, command: bytes, timeout: float | None) -> str:
        """Run a command, in a new shell where this one has ended or does not take it."""
        reason = "The shell had ended."
        if await shell.start(command):
            self._is_running = True
            report = await self._report(shell, timeout)
            if report.was_begun:
                return await self._told(shell, report, timeout)
            reason = f"{UNUSABLE} The command was not run there."
        note = f"[{reason}{await self._replace()}]"
        if self._shell is None or not await self._shell.start(command):
            return error(note)
        self._is_running = True
        return f"{note}\n{await self._wait(self._shell, timeout)}"

    async def _wait(self, shell: Shell, timeout: float | None) -> str:
        return await self._told(shell, await self._report(shell, timeout), timeout)

    async def _report(self, shell: Shell, timeout: float | None) -> ShellReport:
        """What the running command does until it ends or is left running."""
        return await shell.wait(
            quiet_seconds=self.parts.no_output_seconds if timeout is None else None,
            total_seconds=self.parts.hard_timeout_seconds if timeout is None else timeout,
        )

    async def _told(self, shell: Shell, report: ShellReport, timeout: float | None) -> str:
        """The observation."""
        output = self._shown(report)
        if report.outcome is Outcome.quiet:
            status = (
                f"[No output for {self.parts.no_output_seconds:g} seconds: it is still running. {RUNNING}]"
            )
        elif report.outcome is Outcome.timeout:
            last_output, note = await self._interrupt(shell)
            output += last_output
            total_seconds = self.parts.hard_timeout_seconds if timeout is None else timeout
            status = f"[Stopped after {total_seconds:g} seconds.{note}]"
        elif report.outcome is Outcome.ended:
            status = f"[The shell has ended.{await self._replace()}]"
        else:
            self._is_running = False
            status = f"[Command finished with exit code {report.exit_code}]"
            if not report.is_usable:
                status += f"\n[{UNUSABLE}{await self._replace()}]"
        directory = self.parts.working_directory if self._shell is None else self._shell.directory
        return f"{output}[Current working directory: {directory}]\n{status}"

    async def _interrupt(self, shell: Shell) -> tuple[str, str]:
        """What the command still printed, and what to tell of its end."""
        await shell.send(KEYS["C-c"])
        report = await shell.wait(quiet_seconds=None, total_seconds=INTERRUPT_SECONDS)
        if report.outcome is Outcome.finished:
            self._is_running = False
            return self._shown(report), ""
        return self._shown(report), " It did not react to C-c." + await self._replace()

    async def _replace(self) -> str:
        await self.close()
        self._shell = await self._open()
        return " A new shell was opened." if self._shell is not None else " No new shell could be opened."

    async def _open(self) -> Shell | None:
        # Bytes: a character takes at most four, and escape sequences take some more.
        limit = 4 * self.parts.max_observation_characters
        for directory in (self.parts.working_directory, "/"):  # the agent may have removed the first
            shell = await open_shell(self.parts.sandbox, working_directory=directory, output_limit=limit)
            if shell is not None:
                return shell
        return None

    def _shown(self, report: ShellReport) -> str:
        head, tail = (report.head, report.tail) if report.left_out else (report.head + report.tail, b"")
        text = truncate(
            _read(head),
            tail=_read(tail),
            left_out=report.left_out,
            limit=self.parts.max_observation_characters,
        )
        return text if not text or text.endswith("\n") else text + "\n"


def _read(output: bytes) -> str:
    return without_own_lines(clean_terminal_output(output))
