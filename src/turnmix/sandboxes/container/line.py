"""The host's end of the line to process 1 of a container (`supervisor.sh`): commands out, results in.

Enters: an attached stream. Leaves: awaitable results. All that arrives is untrusted; what does not fit the
protocol is noise, and the worst that a command can do is to lie about itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.container.stream import STDERR, Stream
from turnmix.sandboxes.sandbox import CommandResult, SandboxLimitExceeded

FREE_SECONDS = 0.02
"""How long what a command left running may hold its output open when the next command is there."""
KILL_SECONDS = 1.0
KILL_ATTEMPTS = 5
ANSWER_SECONDS = 10.0
ANSWER_ATTEMPTS = 3
FREE_ATTEMPTS = 10
LONGEST_MARK = 96
NO_SHELL = 126
KILLED = 128 + 9


def job_mark(number: int) -> str:
    """What the processes of a command or terminal carry in their environment."""
    return f"SANDBOX_JOB={number}."


class _Job:
    """A command under way."""

    def __init__(self, number: int, limit: int) -> None:
        self.number = number
        self.limit = limit
        self.output = bytearray()
        self.is_cut = False
        self.code: int | None = None
        self.changed = asyncio.Event()


class Line:
    """One container's line. Commands run one at a time."""

    def __init__(self, stream: Stream, word: str, wake: Callable[[], Awaitable[None]]) -> None:
        """`wake`: lets the supervisor go on where the agent has stopped it."""
        self.failure: SandboxError | None = None
        self.word = word
        self._stream = stream
        self._wake = wake
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._mark = re.compile(rb"\n%s (\w+)(?: (\d+))?\n" % word.encode())
        self._note = re.compile(rb"^%s (\d+) 0$" % word.encode(), re.MULTILINE)
        self._numbers = 0
        self._worker = ""
        self._job: _Job | None = None
        self._free = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._held = b""
        self._notes = b""
        self._tasks: set[asyncio.Task[CommandResult]] = set()
        self._reading = asyncio.ensure_future(self._read())

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    async def ready(self) -> None:
        await asyncio.shield(self._ready)
        self.check()

    def check(self) -> None:
        """Raise a fresh error if the line has failed, as each caller's traceback is its own."""
        if isinstance(self.failure, SandboxLimitExceeded):
            raise SandboxLimitExceeded(self.failure.limit)
        if self.failure is not None:
            raise SandboxError(str(self.failure))

    def fail(self, failure: SandboxError) -> None:
        """End everything: process 1 ends when the line does."""
        if self.failure is not None:
            return
        self.failure = failure
        self._stream.close()
        if not self._ready.done():
            self._ready.set_result(None)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(None)
        self._free.set()
        if self._job is not None:
            self._job.changed.set()

    async def close(self) -> None:
        """Wait for what `fail` has ended."""
        self._reading.cancel()
        await asyncio.gather(self._reading, *self._tasks, return_exceptions=True)

    async def run(
        self, command: Callable[[int], bytes], *, timeout: float, limit: int, stops_at_limit: bool = False
    ) -> CommandResult:
        """Run a command, made of its number; when this is cancelled it is killed.

        `stops_at_limit`: kill it once it wrote more than `limit`; the result then has one byte more.
        """
        self.check()
        job = _Job(self.number(), limit + 1 if stops_at_limit else limit)
        task = asyncio.ensure_future(self._carry_out(job, command(job.number), timeout, stops_at_limit))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            job.is_cut = True
            job.changed.set()
            raise

    async def request(self, request: str) -> None:
        """Have one of the supervisor's functions called, and wait until it was."""
        self.check()
        number = self.number()
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send(f"{request}; answer {number}\n".encode())
            for attempt in range(ANSWER_ATTEMPTS):
                if attempt:
                    await self._wake()
                await asyncio.wait({answer}, timeout=ANSWER_SECONDS)
                if answer.done():
                    break
            else:
                self._end("or does not answer")
        finally:
            del self._answers[number]
        self.check()

    async def _carry_out(
        self, job: _Job, request: bytes, timeout: float, stops_at_limit: bool
    ) -> CommandResult:
        async with self._one_at_a_time:
            self.check()
            if job.is_cut:
                return CommandResult(exit_code=None, output=b"")
            await self._until_free()
            self._job, self._held = job, b""
            self._free.clear()
            try:
                await self._send(request)
                is_in_time = await self._until_end(
                    job, timeout, lambda: job.is_cut or (stops_at_limit and len(job.output) >= job.limit)
                )
                for _ in range(0 if is_in_time else KILL_ATTEMPTS):
                    await self.request(f"end {job_mark(job.number)}")
                    if await self._until_end(job, KILL_SECONDS, lambda: False):
                        break
                self.check()
            finally:
                self._job = None
        if not is_in_time:
            return CommandResult(exit_code=None, output=bytes(job.output))
        return CommandResult(exit_code=job.code, output=bytes(job.output))

    async def _until_free(self) -> None:
        """Wait for the end of the previous command's output. All that it wrote itself is here already."""
        for attempt in range(FREE_ATTEMPTS):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._free.wait(), KILL_SECONDS if attempt else FREE_SECONDS)
                return self.check()
            await self.request(f"cut {self._worker}")
        self._end("or does not answer")
        self.check()

    async def _until_end(self, job: _Job, timeout: float, is_over: Callable[[], bool]) -> bool:
        """Wait for a command's end; False when the time is up, or `is_over` says so, before."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        while job.code is None and self.failure is None:
            if clock() >= deadline or is_over():
                return False
            job.changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(job.changed.wait(), deadline - clock())
        return True

    async def _send(self, data: bytes) -> None:
        try:
            async with self._sending:
                await self._stream.send(data)
        except OSError as error:
            self._end(error)
        self.check()

    def _end(self, reason: object) -> None:
        if self.failure is None:
            self.fail(SandboxError(f"the container ended unexpectedly {reason}".strip()))

    async def _read(self) -> None:
        while True:
            kind, data = await self._stream.read()
            if not data:
                break
            if kind == STDERR:
                self._take_notes(data)
            else:
                self._take_output(data)
        self._end("")

    def _take_notes(self, data: bytes) -> None:
        self._notes = (self._notes + data)[-(1 << 16) :]
        complete, _, self._notes = self._notes.rpartition(b"\n")
        for number in self._note.findall(complete):
            if (answer := self._answers.get(int(number))) is not None and not answer.done():
                answer.set_result(None)

    def _take_output(self, data: bytes) -> None:
        data = self._held + data
        while mark := self._mark.search(data):
            self._keep(data[: mark.start()])
            self._handle(mark[1].decode(), mark[2])
            data = data[mark.end() :]
        # The last bytes may be the beginning of a mark.
        boundary = data.rfind(b"\n", max(0, len(data) - LONGEST_MARK))
        boundary = len(data) if boundary < 0 else boundary
        self._keep(data[:boundary])
        self._held = data[boundary:]

    def _keep(self, output: bytes) -> None:
        if self._job is not None and self._job.code is None and output:
            self._job.output += output[: max(0, self._job.limit - len(self._job.output))]
            self._job.changed.set()

    def _handle(self, subject: str, number: bytes | None) -> None:
        job = self._job
        if subject in ("ready", "free", "failed"):
            self._free.set()
        if subject == "ready" and number is not None:
            self._worker = number.decode()
            if not self._ready.done():
                self._ready.set_result(None)
        if job is None or job.code is not None:
            return
        if subject == "failed":
            job.output += b"cannot start a shell: no room for another process\n"
            job.code = NO_SHELL
        elif subject in ("ready", "free"):  # what ran it was killed, or all was and began again
            job.code = KILLED
        elif subject == str(job.number) and number is not None:
            job.code = int(number) % 256
        job.changed.set()
