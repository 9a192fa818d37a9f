"""A persistent shell whose prompt reports that a command has ended, with which exit code, and where.

In: commands and keystrokes. Out: what happened (`ShellReport`), with bounded output. Works in every POSIX
shell: a command that reads its standard input cannot swallow the report, for the prompt makes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import Enum

from turnmix.sandboxes.sandbox import Sandbox, Terminal
from turnmix.scaffold.shell_line import (
    Report,
    Step,
    find_report,
    possible_report,
    prompt,
    typed_line,
    without_reports,
)

_PROMPT_SECONDS = 5.0
"""How long after a command's end a shell that can still report shows its prompt, on the busiest machine."""
_GLANCE_SECONDS = 0.01
_DISCARD_READS = 16

ENVIRONMENT = {
    "PS1": prompt(0, Step.completed),  # bash shows it again when the first command cannot be parsed
    "PS2": "",
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "VIRTUAL_ENV_DISABLE_PROMPT": "1",
    "CONDA_CHANGEPS1": "false",
}


class Outcome(str, Enum):
    """Why a wait ended."""

    finished = "finished"
    quiet = "quiet"  # still running, no new output for a while
    timeout = "timeout"  # still running at the hard limit
    ended = "ended"  # the shell itself is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellReport:
    """What a wait saw."""

    outcome: Outcome
    head: bytes
    tail: bytes
    left_out: int
    """Bytes between `head` and `tail` that were not kept."""
    exit_code: int | None = None
    """Of a finished command."""
    was_begun: bool = True
    """False: the shell showed its prompt without having run the command."""
    is_usable: bool = True
    """False: what comes after this command would not be reported as it is."""


class BoundedOutput:
    """The beginning and the end of a stream of any length, in at most 3 × `limit` bytes of memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def append(self, data: bytes) -> None:
        room = self._limit - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._limit:
            self._left_out += len(self._tail) - self._limit
            del self._tail[: -self._limit]

    def take(
        self,
        outcome: Outcome,
        *,
        exit_code: int | None,
        was_begun: bool = True,
        is_usable: bool = True,
    ) -> ShellReport:
        """Everything since the last time."""
        head, tail, left_out = bytes(self._head), bytes(self._tail), self._left_out
        self._head.clear()
        self._tail.clear()
        self._left_out = 0
        return ShellReport(
            outcome=outcome,
            head=head,
            tail=tail,
            left_out=left_out,
            exit_code=exit_code,
            was_begun=was_begun,
            is_usable=is_usable,
        )


class Shell:
    """One terminal with a shell at its prompt, or with one command running. Made by `open_shell`."""

    def __init__(self, *, terminal: Terminal, output_limit: int) -> None:
        self.directory = ""
        self._terminal = terminal
        self._output = BoundedOutput(output_limit)
        self._unread = b""
        self._reading: asyncio.Future[bytes] | None = None
        self._number = 0
        self._was_typed_to = self._follows_keys = False
        self._last_code = 0
        self._exit_code: int | None = None
        self._was_begun = self._is_usable = True
        self._ending: Outcome | None = None
        self._prompt_due: float | None = None
        """When the prompt must have followed the report of the command's end."""

    async def start(self, command: bytes) -> bool:
        """Begin a command; the one before must have finished. False: the shell has ended meanwhile."""
        if not await self._discard_prompts():
            return False
        self._number += 1
        self._follows_keys, self._was_typed_to = self._was_typed_to, False
        await self._type(typed_line(command, number=self._number, last_code=self._last_code))
        return True

    async def send(self, keys: bytes) -> None:
        """Type to the running command."""
        self._was_typed_to = True
        await self._type(keys)

    async def _type(self, keys: bytes) -> None:
        # When the shell has just ended the terminal refuses; the next wait says so.
        with contextlib.suppress(OSError):
            await self._terminal.write(keys)

    async def is_running(self) -> bool:
        """Whether the command has not finished yet. What it printed stays for the next wait."""
        return await self._advance(quiet_seconds=None, total_seconds=_GLANCE_SECONDS) is Outcome.timeout

    async def wait(self, *, quiet_seconds: float | None, total_seconds: float) -> ShellReport:
        """Collect output until the command finishes, the shell ends, or time is up.

        `quiet_seconds`: give up after so long without new output; None: never.
        """
        outcome = await self._advance(quiet_seconds=quiet_seconds, total_seconds=total_seconds)
        report = self._output.take(
            outcome, exit_code=self._exit_code, was_begun=self._was_begun, is_usable=self._is_usable
        )
        if self._ending is not Outcome.ended:
            self._ending = None
        if outcome is Outcome.finished and self._reading is None:  # so that its end is noticed meanwhile
            self._reading = self._begin_to_read()
        self._last_code = self._exit_code or 0
        self._exit_code = self._prompt_due = None
        self._was_begun = self._is_usable = True
        return report

    async def close(self) -> None:
        """Kill the shell and everything it started. Safe to call twice."""
        await self._terminal.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None

    async def _advance(self, *, quiet_seconds: float | None, total_seconds: float) -> Outcome:
        clock = asyncio.get_running_loop().time
        deadline = clock() + total_seconds
        while self._ending is None:
            if found := find_report(self._unread):
                self._output.append(self._unread[: found.start])
                self._unread = self._unread[found.end :]
                self._take(found.report, clock() + _PROMPT_SECONDS)
                continue
            boundary = len(self._unread) - possible_report(self._unread)
            self._output.append(self._unread[:boundary])
            self._unread = self._unread[boundary:]
            if self._prompt_due is not None:
                data = await self._read(max(0.0, self._prompt_due - clock()))
                if data is None:
                    self._ending, self._is_usable = Outcome.finished, False
                elif not data:
                    self._ending = Outcome.ended
                self._unread += data or b""
                continue
            remaining = deadline - clock()
            if remaining <= 0:
                return Outcome.timeout
            data = await self._read(remaining if quiet_seconds is None else min(remaining, quiet_seconds))
            if data is None:
                return (
                    Outcome.timeout if quiet_seconds is None or remaining <= quiet_seconds else Outcome.quiet
                )
            self._unread += data
            if not data:
                self._ending = Outcome.ended
        return self._ending

    def _take(self, report: Report, prompt_due: float) -> None:
        step = report.step
        if report.directory.startswith("/"):
            self.directory = report.directory
        if step is Step.ended:
            self._exit_code, self._prompt_due = report.code, prompt_due
            return
        self._ending = Outcome.finished
        if self._prompt_due is None:
            self._exit_code = report.code
        if step is Step.moved:
            self._is_usable = False
        elif step is Step.completed:
            # Without word of the command's end, the prompt of an earlier line: this one could not be read, as
            # where `case` is an alias; or keys typed to the one before have left a prompt too many.
            self._is_usable = report.number == self._number or self._prompt_due is not None
            self._was_begun = self._is_usable or self._follows_keys
        else:
            # A shell inside this one that has ended leaves a report with the number of the line it was begun
            # by, but a completed one; that PS1 can no longer be set leaves one that is not.
            self._is_usable = report.number == self._number and self._prompt_due is None
            self._was_begun = step is Step.begun or self._was_typed_to or not self._is_usable

    async def _discard_prompts(self) -> bool:
        """A key typed as a command ended can leave a second prompt; what background jobs printed is kept.

        Returns whether the shell is still there.
        """
        is_there = True
        for _ in range(_DISCARD_READS):
            if not (data := await self._read(0.0)):
                is_there = data is None
                break
            self._unread += data
        self._unread = without_reports(self._unread)
        return is_there

    async def _read(self, timeout: float) -> bytes | None:
        """New output; b"" when the shell has ended; None at the time-out. A read outlives its time-out, so
        that nothing is lost, and there is never more than one, so that a flood waits in the kernel."""
        if self._reading is None:
            self._reading = self._begin_to_read()
        await asyncio.wait({self._reading}, timeout=timeout)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    def _begin_to_read(self) -> asyncio.Future[bytes]:
        """Its failure may come when nobody asks for output any more, as where the sandbox is stopped meanwhile."""
        reading = asyncio.ensure_future(self._terminal.read())
        reading.add_done_callback(lambda reading: reading.cancelled() or reading.exception())
        return reading


async def open_shell(
    sandbox: Sandbox, *, working_directory: str, output_limit: int, timeout: float = 30.0
) -> Shell | None:
    """A shell at its prompt in `working_directory`; None when none could be brought to its prompt in
    `timeout` seconds, as when the agent's processes leave no room for one.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    terminal = await sandbox.open_terminal(working_directory=working_directory, environment=ENVIRONMENT)
    shell = Shell(terminal=terminal, output_limit=output_limit)
    report = await shell.wait(quiet_seconds=None, total_seconds=timeout)
    if report.outcome is Outcome.finished:
        return shell
    await shell.close()
    return None
