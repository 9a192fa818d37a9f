"""A persistent shell whose prompt reports that a command has ended, with which exit code, and where.

In: commands and keystrokes. Out: what happened (`ShellReport`), with bounded output. Works in every POSIX
shell: PS1 holds a marker that expands `$?` and `$PWD`, so a command that reads its standard input cannot
swallow the report.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from enum import Enum

from turnmix.sandboxes.sandbox import Sandbox, Terminal

# Always the same, so that a repeated trajectory reads the same. It guards against accident alone: an agent
# that prints it on purpose deceives nobody but itself.
MARKER = "#turnmix-prompt-7f3a91c2#"
PROMPT = f"{MARKER}$?:$PWD{MARKER}"
_START = MARKER.encode()
_PROMPT_SEEN = re.compile(_START + rb"(\d{1,3}):(|/.*?)" + _START, re.DOTALL)
_LONGEST_PROMPT = 8192
_GLANCE_SECONDS = 0.01
_DISCARD_READS = 16

_LINE_BYTES = 512
"""Of a typed line before quoting, which may make it four times as long; terminals cut lines at 4096."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")

ENVIRONMENT = {
    "PS1": PROMPT,
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

    def take(self, outcome: Outcome, *, exit_code: int | None) -> ShellReport:
        """Everything since the last time."""
        head, tail, left_out = bytes(self._head), bytes(self._tail), self._left_out
        self._head.clear()
        self._tail.clear()
        self._left_out = 0
        return ShellReport(outcome=outcome, head=head, tail=tail, left_out=left_out, exit_code=exit_code)


class Shell:
    """One terminal with a shell at its prompt, or with one command running. Made by `open_shell`."""

    def __init__(self, *, terminal: Terminal, output_limit: int) -> None:
        self.directory = ""
        self._terminal = terminal
        self._output = BoundedOutput(output_limit)
        self._unread = b""
        self._reading: asyncio.Task[bytes] | None = None
        self._exit_code: int | None = None
        self._ending: Outcome | None = None

    async def start(self, command: bytes) -> None:
        """Begin a command; the one before must have finished."""
        await self._discard_prompts()
        # `command` keeps a syntax error from ending a shell. The prompt is set before, so that an interrupt,
        # which drops the rest of the line, is reported; and after, because the command may have changed it.
        after = PROMPT.replace("$PWD", "\\$PWD").encode()
        await self.send(
            b"PS1='%b'; command eval %b; PS1=\"%b\"\n" % (PROMPT.encode(), _typed(command), after)
        )

    async def send(self, keys: bytes) -> None:
        """Type to the running command."""
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
        exit_code, self._exit_code, self._ending = self._exit_code, None, None
        return self._output.take(outcome, exit_code=exit_code)

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
            if match := _PROMPT_SEEN.search(self._unread):
                self._output.append(self._unread[: match.start()])
                self._unread = self._unread[match.end() :]
                self._exit_code, self.directory = int(match[1]), match[2].decode("utf-8", "replace")
                self._ending = Outcome.finished
                break
            boundary = len(self._unread) - _possible_prompt(self._unread)
            self._output.append(self._unread[:boundary])
            self._unread = self._unread[boundary:]
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

    async def _discard_prompts(self) -> None:
        """A key typed as a command ended can leave a second prompt; what background jobs printed is kept."""
        for _ in range(_DISCARD_READS):
            if not (data := await self._read(0.0)):
                break
            self._unread += data
        self._unread = _PROMPT_SEEN.sub(b"", self._unread)

    async def _read(self, timeout: float) -> bytes | None:
        """New output; b"" when the shell has ended; None at the time-out. A read outlives its time-out, so
        that nothing is lost, and there is never more than one, so that a flood waits in the kernel."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._terminal.read())
        await asyncio.wait({self._reading}, timeout=timeout)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        return reading.result()


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


def _typed(command: bytes) -> bytes:
    r"""`command` as one word that can be typed at any terminal, whatever bytes but NUL are in it.

    >>> print(_typed(b"echo 'hi' there").decode())
    'echo '\''hi'\'' there'
    >>> print(_typed(b"echo \\ \x03").decode())
    "$(printf %b 'echo \\ \0003')"
    """
    if not _CONTROL.search(command):
        return _quoted(command)
    # What the terminal would take for a key travels as an escape sequence.
    escaped = _CONTROL.sub(lambda match: b"\\0%03o" % ord(match[0]), command.replace(b"\\", b"\\\\"))
    return b'"$(printf %b ' + _quoted(escaped) + b')"'


def _quoted(text: bytes) -> bytes:
    """`text` as one shell word, in short lines: an escaped newline between two quoted parts joins them."""
    pieces = (text[start : start + _LINE_BYTES] for start in range(0, len(text), _LINE_BYTES))
    return b"\\\n".join(b"'" + piece.replace(b"'", b"'\\''") + b"'" for piece in pieces)


def _possible_prompt(data: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of a prompt.

    >>> _possible_prompt(b"Password: "), _possible_prompt(b"abc#turn"), _possible_prompt(_START + b"0:/wor")
    (0, 5, 31)
    """
    window = data[-_LONGEST_PROMPT:]
    started = re.search(_START + rb"(\d{0,3}|\d{1,3}:(/.*)?)\Z", window, re.DOTALL)
    if started:
        return len(window) - started.start()
    return next((length for length in range(len(_START) - 1, 0, -1) if data.endswith(_START[:length])), 0)
