"""The program inside a sandbox that runs commands, serves terminals, reads and writes files.

It is sent over its own standard input as compiled code, so it opens no file of the host. It imports only
what starts in milliseconds: `_signal` for `signal`, which needs `enum`, and never `typing`. In: frames
of (channel, length) and a marshalled tuple, from the host, which it trusts. Out: frames of (channel,
kind, length) and raw bytes, which the host does not trust.

In a sandbox it is process 1 of its namespace and not dumpable: nothing inside can kill, stop or trace it,
though it has the agent's user id; and its end is the end of every process inside.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import errno
import marshal
import os
import select
import struct
import time

from turnmix.sandboxes.inside.confinement import Confinement
from turnmix.sandboxes.inside.files import read_file, write_file
from turnmix.sandboxes.inside.job import CHUNK, FOREVER, TERMINAL_WINDOW, Job
from turnmix.sandboxes.inside.tree import read_tree
from turnmix.sandboxes.inside.watchdog import LimitExceeded, Watchdog

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

TIMED_OUT = -1
OUTBOX_BYTES = 1 << 20
"""While more than this waits for the host, no output is read."""
SPAWN_ATTEMPTS = 20
STARTING = ("run", "terminal", "type", "write")
"""What lets something run, or grow."""
READING_SECONDS = 0.01
"""How long a tree is read before all else is looked after again."""


class Supervisor:
    def __init__(self, configuration: dict[str, Any], confinement: Confinement) -> None:
        self.score = confinement.score
        self.root: bytes = configuration["root"]
        self.environment: dict[bytes, bytes] = configuration["environment"]
        file_systems = configuration["file_systems"]
        self.watchdog = Watchdog(
            configuration["limits"],
            file_systems,
            sockets=confinement.sockets,
            socket_bytes=configuration["socket_bytes"],
        )
        self.jobs: dict[int, Job] = {}
        self.trees: dict[int, Iterator[bytes]] = {}
        """What is still to be read of them, by channel."""
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.children_ended, wake = os.pipe()
        for descriptor in (0, self.children_ended, wake):
            os.set_blocking(descriptor, False)
        # What process 1 does not handle, others inside cannot send it; Python handles this one.
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the host hangs up."""
        self.send(0, b"r")
        self.flush()
        while True:
            poll, actions = self.interests()
            due = min([self.watchdog.due, *(job.deadline for job in self.jobs.values())])
            wait = None if due == FOREVER else max(0.0, due - time.monotonic()) * 1000 + 1
            if self.trees and len(self.outbox) < OUTBOX_BYTES:
                wait = 0
            for descriptor, events in poll.poll(wait):
                if descriptor == self.children_ended:
                    os.read(descriptor, 4096)
                elif descriptor in actions:
                    actions[descriptor]()
                elif events & ~select.POLLOUT and not self.receive():
                    return
            self.reap()
            self.enforce(time.monotonic())
            self.read_on(time.monotonic() + READING_SECONDS)
            self.flush()

    def interests(self) -> tuple[select.poll, dict[int, Callable[[], object]]]:
        poll = select.poll()
        poll.register(0, select.POLLIN | (select.POLLOUT if self.outbox else 0))
        poll.register(self.children_ended, select.POLLIN)
        actions: dict[int, Callable[[], object]] = {}
        for job in self.jobs.values():
            has_room = len(self.outbox) < OUTBOX_BYTES and (job.allowance > 0 or not job.is_terminal)
            if job.output >= 0 and has_room:
                poll.register(job.output, select.POLLIN)
                actions[job.output] = lambda job=job: job.pump(self.send)  # type: ignore[misc]
            if job.input >= 0 and job.typed:
                poll.register(job.input, select.POLLOUT)
                actions[job.input] = job.feed
        return poll, actions

    def send(self, channel: int, kind: bytes, payload: bytes = b"") -> None:
        self.outbox += struct.pack(">IcI", channel, kind, len(payload)) + payload

    def send_content(self, channel: int, content: bytes) -> None:
        for start in range(0, len(content), CHUNK):
            self.send(channel, b"o", content[start : start + CHUNK])

    def send_end(self, channel: int, code: int) -> None:
        self.send(channel, b"x", struct.pack(">i", code))

    def flush(self) -> None:
        try:
            while self.outbox:
                del self.outbox[: os.write(0, self.outbox[: 4 * CHUNK])]
        except (BlockingIOError, ConnectionError):  # a lost host is seen by `receive`
            pass

    def receive(self) -> bool:
        """Take in and handle what the host sent; False when it hung up."""
        try:
            data = os.read(0, 4 * CHUNK)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self.inbox += data
        while len(self.inbox) >= 8:
            channel, length = struct.unpack_from(">II", self.inbox)
            if len(self.inbox) < 8 + length:
                break
            operation, *arguments = marshal.loads(self.inbox[8 : 8 + length])
            del self.inbox[: 8 + length]
            self.handle(channel, operation, arguments)
        return bool(data)

    def handle(self, channel: int, operation: str, arguments: list[Any]) -> None:
        job = self.jobs.get(channel)
        if operation == "run":
            command, directory, environment, stdin, timeout, limit = arguments
            self.start(
                Job(channel, command, time.monotonic() + timeout, limit), directory, environment, stdin
            )
        elif operation == "terminal":
            directory, environment = arguments
            defaults = {b"PS1": b"", b"PS2": b"", b"HISTFILE": b"/dev/null"}
            terminal = Job(channel, None, FOREVER, TERMINAL_WINDOW)
            self.start(terminal, directory, {**defaults, **environment}, b"")
        elif operation == "tree":
            top, *rest = arguments
            self.trees[channel] = read_tree(self.root + top, *rest)
        elif operation in ("read", "write"):
            self.access(channel, read_file if operation == "read" else write_file, *arguments)
        elif job is not None and operation == "type":
            job.type(arguments[0])
        elif job is not None and operation == "acknowledge":
            job.allowance += arguments[0]
        elif job is not None and operation == "close":
            job.kill(self.leaders()[0])
        elif operation == "close" and channel in self.trees:
            del self.trees[channel]
            self.send_end(channel, 0)
        if operation in STARTING:
            self.watchdog.wake(time.monotonic())

    def access(self, channel: int, access: Callable[..., bytes], path: bytes, argument: Any) -> None:
        try:
            if not path.startswith(b"/"):
                raise ValueError("not an absolute path")
            content = access(self.root + path, argument)
        except (OSError, ValueError, MemoryError, RecursionError) as error:
            self.send(channel, b"e", struct.pack(">i", error_number(error)))
            return
        self.send_content(channel, content)
        self.send_end(channel, 0)

    def read_on(self, until: float) -> None:
        for channel, pieces in list(self.trees.items()):
            try:
                while len(self.outbox) < OUTBOX_BYTES and time.monotonic() < until:
                    self.send_content(channel, next(pieces))
            except StopIteration:
                del self.trees[channel]
                self.send_end(channel, 0)
            except (OSError, ValueError, MemoryError) as error:
                del self.trees[channel]
                self.send(channel, b"e", struct.pack(">i", error_number(error)))

    def start(self, job: Job, directory: bytes, environment: dict[bytes, bytes], stdin: bytes) -> None:
        others: list[int] = []
        try:
            others, actions = job.open(stdin)
            for attempt in range(SPAWN_ATTEMPTS):
                try:
                    job.spawn(self.root + directory, {**self.environment, **environment}, actions, self.score)
                    break
                except BlockingIOError:
                    if attempt == SPAWN_ATTEMPTS - 1:
                        raise
                    self.make_room()
            self.jobs[job.channel] = job
        except (OSError, ValueError) as error:
            job.close()
            self.send(
                job.channel, b"o", f"cannot start a shell: {error}\n".encode("utf-8", "replace")[:CHUNK]
            )
            self.send_end(job.channel, 126)
        for descriptor in others:
            os.close(descriptor)

    def make_room(self) -> None:
        """All process slots are taken: kill the largest family of processes."""
        if self.watchdog.file_systems:
            self.note(self.watchdog.free_processes(*self.leaders()), b"processes")
        time.sleep(0.01)
        self.reap()

    def leaders(self) -> tuple[set[int], set[int]]:
        """The pids of all leaders, and of those that are terminals."""
        jobs = self.jobs.values()
        return {job.pid for job in jobs}, {job.pid for job in jobs if job.is_terminal}

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for job in [job for job in self.jobs.values() if job.pid == pid]:
                # A background process may hold the output and write for ever: take only what is there.
                for _ in range(16):
                    if job.output < 0 or not job.pump(self.send):
                        break
                job.close()
                code = os.waitstatus_to_exitcode(status)
                self.send_end(job.channel, TIMED_OUT if job.timed_out else code if code >= 0 else 128 - code)
                del self.jobs[job.channel]

    def enforce(self, now: float) -> None:
        for job in self.jobs.values():
            if now >= job.deadline:
                job.timed_out, job.deadline = True, FOREVER
                job.kill(self.leaders()[0])
        try:
            if killed := self.watchdog.look(now, *self.leaders()):
                for leader in killed[0]:
                    self.note(leader, killed[1])
        except LimitExceeded as error:
            self.send(0, b"l", str(error).encode())
            self.flush()
            os._exit(1)

    def say_last(self, error: Exception) -> None:
        """What is a fault of this program is told to the host, which hears nothing else of it."""
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}, line {place.tb_lineno}" if place is not None else ""
        text = f"{type(error).__name__}: {error} ({where})"
        self.send(0, b"d", text.encode("utf-8", "replace")[:CHUNK])
        os.set_blocking(0, True)
        self.flush()

    def note(self, leader: int, limit: bytes) -> None:
        for job in self.jobs.values():
            if job.pid == leader:
                text = b"\n[killed: more than the sandbox allows (%s = %d)]\n"
                self.send(job.channel, b"o", text % (limit, self.watchdog.limits[limit.decode()]))


def error_number(error: Exception) -> int:
    """What the file system would have called it."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return errno.ENAMETOOLONG if isinstance(error, RecursionError) else errno.EINVAL


def main(configuration: dict[str, Any]) -> None:
    confinement = Confinement(configuration)
    confinement.enter()
    supervisor = Supervisor(configuration, confinement)
    try:
        supervisor.serve()
    except Exception as error:
        supervisor.say_last(error)
        raise
    finally:
        confinement.leave()
