"""The host's end of the line to process 1 of a container (`supervisor.sh`): commands out, results in.

In: an attached stream. Out: awaitable results. All that arrives is untrusted; what does not fit the
protocol is noise, and the worst that a command can do is to lie about itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.container.job import KILLED, NO_SHELL, Job, job_mark
from turnmix.sandboxes.container.stream import STDERR, Stream
from turnmix.sandboxes.sandbox import CommandResult, SandboxLimitExceeded

ENDED, SILENT = "ended unexpectedly", "does not answer"

FREE_SECONDS = 0.02
"""How long what a command left running may hold its output open when the next command is there."""
KILL_SECONDS = 1.0
KILL_ATTEMPTS = 5
KILL_PATIENCE = 60.0
"""Seconds after which a command that cannot be killed has ended the container."""
ANSWER_SECONDS = 10.0
ANSWER_ATTEMPTS = 3
FREE_ATTEMPTS = 10
LONGEST_MARK = 96


class Line:
    """One container's line. Commands run one at a time."""

    def __init__(
        self,
        stream: Stream,
        word: str,
        *,
        wake: Callable[[], Awaitable[None]],
        explain: Callable[[str], Awaitable[SandboxError]],
    ) -> None:
        """`wake`: lets the supervisor go on where the agent has stopped it. `explain`: says whose doing it is
        that the container ended or does not answer."""
        self.failure: SandboxError | None = None
        self._stream = stream
        self._wake = wake
        self._explain = explain
        self._ending: asyncio.Task[None] | None = None
        self._word = word
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._mark = re.compile(rb"\n%s (\w+)(?: (\d+))?\n" % word.encode())
        self._note = re.compile(rb"^%s (\d+) 0$" % word.encode(), re.MULTILINE)
        self._numbers = 0
        self._worker = ""
        self._job: Job | None = None
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
        """Tell a started supervisor its word, which nothing inside can read from a command line."""
        await self._send(f"{self._word}\n".encode())
        await asyncio.shield(self._ready)
        self.check()

    def check(self) -> None:
        """Raise a fresh error if the line has failed, as each caller's traceback is its own."""
        if isinstance(self.failure, SandboxLimitExceeded):
            raise SandboxLimitExceeded(self.failure.limit)
        if self.failure is not None:
            raise type(self.failure)(str(self.failure))

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
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.gather(self._ending, return_exceptions=True)
        await asyncio.gather(self._reading, *self._tasks, return_exceptions=True)

    async def run(
        self, command: Callable[[int], bytes], *, timeout: float, limit: int, stops_at_limit: bool = False
    ) -> CommandResult:
        """Run a command, made of its number; when this is cancelled it is killed.

        `stops_at_limit`: kill it once it wrote more than `limit`; the result then has one byte more.
        """
        self.check()
        job = Job(self.number(), limit + 1 if stops_at_limit else limit)
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
                await self.end(SILENT)
        finally:
            del self._answers[number]
        self.check()

    async def _carry_out(
        self, job: Job, request: bytes, timeout: float, stops_at_limit: bool
    ) -> CommandResult:
        async with self._one_at_a_time:
            self.check()
            if job.is_cut:
                return CommandResult(exit_code=None, output=b"")
            await self._until_free()
            self._job, self._held = job, b""
            self._free.clear()
            clock = asyncio.get_running_loop().time
            began = clock()
            try:
                await self._send(request)
                is_in_time = await self._until_end(
                    job, timeout, lambda: job.is_cut or (stops_at_limit and len(job.output) >= job.limit)
                )
                for _ in range(0 if is_in_time else KILL_ATTEMPTS):
                    await self.request(f"end {job_mark(job.number)}")
                    if await self._until_end(job, KILL_SECONDS, lambda: False):
                        break
                    if clock() > began + timeout + KILL_PATIENCE:
                        await self.end(SILENT)
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
        await self.end(SILENT)
        self.check()

    async def _until_end(self, job: Job, timeout: float, is_over: Callable[[], bool]) -> bool:
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
        async with self._sending:
            self.check()
            self._stream.put(data)
            try:
                await (self._until_sent() if self._stream.is_blocked else self._stream.drain())
            except OSError:
                await self.end(ENDED)
        self.check()

    async def _until_sent(self) -> None:
        """Wait until a supervisor that is slow, or that the agent has stopped, has read it all. Raises OSError."""
        sending = asyncio.ensure_future(self._stream.drain())
        try:
            for attempt in range(ANSWER_ATTEMPTS):
                if attempt:
                    await self._wake()
                if (await asyncio.wait({sending}, timeout=ANSWER_SECONDS))[0]:
                    return sending.result()
            await self.end(SILENT)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def end(self, told: str) -> None:
        """End everything, once it is known whose doing it is. `told`: what the container does."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end(told))
        await asyncio.wait({self._ending})

    async def _end(self, told: str) -> None:
        if self.failure is None:
            try:
                failure = await self._explain(told)
            except SandboxError as error:  # the runtime does not answer
                failure = error
            self.fail(failure)

    async def _read(self) -> None:
        while True:
            kind, data = await self._stream.read()
            if not data:
                break
            if kind == STDERR:
                self._take_notes(data)
            else:
                self._take_output(data)
        await self.end(ENDED)

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
