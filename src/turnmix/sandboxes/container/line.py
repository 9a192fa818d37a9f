"""The host's end of the line to process 1 of a container (`supervisor.sh`): commands out, results in.

Enters: an attached stream. Leaves: awaitable results. All that arrives is untrusted; what does not fit the
protocol is noise, and the worst that a command can do is to lie about itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.container.stream import STDERR, Stream
from turnmix.sandboxes.sandbox import CommandResult, SandboxLimitExceeded

QUIET_SECONDS = 0.25
"""How long output must pause, after a command's end, before what still holds it open is left behind."""
KILL_SECONDS = 1.0
KILL_ATTEMPTS = 5
ANSWER_SECONDS = 10.0
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
        self.has_ended = False
        self.changed = asyncio.Event()


class Line:
    """One container's line. Commands run one at a time."""

    def __init__(self, stream: Stream, word: str) -> None:
        self.failure: SandboxError | None = None
        self.word = word
        self._stream = stream
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._mark = re.compile(rb"\n%s (\w+)(?: (\d+))?\n" % word.encode())
        self._note = re.compile(rb"^%s (\d+) (\d+)$" % word.encode(), re.MULTILINE)
        self._numbers = 0
        self._worker = ""
        self._job: _Job | None = None
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
        """Have one of the supervisor's functions called, and wait until it was, for a while."""
        self.check()
        number = self.number()
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send(f"{request}; answer {number}\n".encode())
            await asyncio.wait({answer}, timeout=ANSWER_SECONDS)
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
            self._job, self._held = job, b""
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
        return CommandResult(exit_code=KILLED if job.code is None else job.code, output=bytes(job.output))

    async def _until_end(self, job: _Job, timeout: float, is_over: Callable[[], bool]) -> bool:
        """Wait for a command and its output; False when the time is up, or `is_over` says so, before."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        while not (job.has_ended and job.code is not None):
            if self.failure is not None:
                return True
            remaining = deadline - clock()
            if remaining <= 0 or is_over():
                return False
            has_code = job.code is not None
            job.changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(
                    job.changed.wait(),
                    min(remaining, QUIET_SECONDS) if has_code or job.has_ended else remaining,
                )
                continue
            if job.has_ended:  # its code was lost with who should have told it
                return True
            if has_code:
                await self._send(f"cut {self._worker}\n".encode())
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
        for number, code in self._note.findall(complete):
            if self._job is not None and int(number) == self._job.number:
                self._job.code = int(code) % 256
                self._job.changed.set()
            elif (answer := self._answers.get(int(number))) is not None and not answer.done():
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
        if self._job is not None and output:
            self._job.output += output[: max(0, self._job.limit - len(self._job.output))]
            self._job.changed.set()

    def _handle(self, subject: str, worker: bytes | None) -> None:
        job = self._job
        if subject == "ready" and worker is not None:
            # Again: what was under way died with who ran it.
            self._worker = worker.decode()
            if not self._ready.done():
                self._ready.set_result(None)
            elif job is not None:
                job.code, job.has_ended = KILLED, True
        elif job is not None and subject == "failed":
            job.output += b"cannot start a shell: no room for another process\n"
            job.code, job.has_ended = NO_SHELL, True
        elif job is not None and subject == str(job.number):
            job.has_ended = True
        if job is not None:
            job.changed.set()
