"""One command or terminal: a session of processes under a leader, and the way of its input and output.

Runs inside the sandbox. In: what to start. Out: pieces of output, as the leader and its children
write them.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import termios

from turnmix.sandboxes.inside.process_tree import kill_family

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

CHUNK = 64 << 10
TERMINAL_WINDOW = 256 << 10
"""Bytes of a terminal's output that may be on their way unacknowledged."""
TYPED_BYTES = 1 << 20
FOREVER = float("inf")
INTERRUPT = b"\x03"


class Job:
    """Descriptors are -1 when closed."""

    def __init__(self, channel: int, command: bytes | None, deadline: float, output_limit: int) -> None:
        self.channel = channel
        self.command = command
        """None: a terminal."""
        self.deadline = deadline
        self.allowance = output_limit
        self.timed_out = False
        self.pid = 0
        self.mark = b"SANDBOX_JOB=%d" % channel
        self.output = -1
        self.input = -1
        self.typed = bytearray()
        """What waits to be taken. A bytearray drops its beginning without copying the rest."""
        self.path = ""

    @property
    def is_terminal(self) -> bool:
        return self.command is None

    def open(self, stdin: bytes) -> tuple[list[int], list[Any]]:
        """Open this side's descriptors. Returns the other side's, and what the shell does with them."""
        if self.is_terminal:
            self.output, terminal = os.openpty()
            self.input = os.dup(self.output)
            attributes = termios.tcgetattr(terminal)
            attributes[1] &= ~termios.ONLCR
            attributes[3] &= ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSANOW, attributes)
            # Opened by the new session's leader, it becomes the controlling terminal.
            self.path = os.ttyname(terminal)
            actions: list[Any] = [(os.POSIX_SPAWN_OPEN, 0, self.path, os.O_RDWR, 0)]
            actions += [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
            others = [terminal]
        else:
            self.output, output = os.pipe()
            actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
            others = [output]
            if stdin:
                source, self.input = os.pipe()
                actions.append((os.POSIX_SPAWN_DUP2, source, 0))
                others.append(source)
            else:
                actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
        self.typed += stdin
        for descriptor in {self.output, self.input} - {-1}:
            os.set_blocking(descriptor, False)
        return others, actions

    def spawn(
        self, directory: bytes, environment: dict[bytes, bytes], actions: list[Any], score: int
    ) -> None:
        """Start the shell, which the kernel kills before this process when memory is short.

        Raises OSError, ValueError; BlockingIOError when there is no room for a process.
        """
        if self.command is not None:
            shell = [b"/bin/sh", b"-c", self.command]
        elif os.access("/bin/bash", os.X_OK):
            shell = [b"/bin/bash", b"--norc", b"--noprofile", b"--noediting", b"+H", b"-i"]
        else:
            shell = [b"/bin/sh", b"-i"]
        reset = [_signal.SIGPIPE, _signal.SIGXFSZ]  # Python ignores them, and what is ignored is inherited
        own_score = os.pread(score, 16, 0)
        os.chdir(directory)
        name, _, value = self.mark.partition(b"=")
        try:
            os.pwrite(score, b"1000", 0)
            self.pid = os.posix_spawn(
                shell[0],
                shell,
                {**environment, name: value},
                file_actions=actions,
                setsid=True,
                setsigdef=reset,
            )
        finally:
            os.pwrite(score, own_score, 0)
            os.chdir("/")

    def kill(self, leaders: Container[int]) -> None:
        """Kill the leader and all that it started, but for daemons that hide where they come from.

        `leaders`: of all jobs; what another of them leads is not this one's, whatever its environment says."""
        kill_family(self.pid, leaders, mark=self.mark)

    def type(self, data: bytes) -> None:
        if data == INTERRUPT:
            self._discard_input()
        self.typed += data
        del self.typed[TYPED_BYTES:]

    def _discard_input(self) -> None:
        """An interrupt must not wait behind input that nobody reads: here, on its way, or at the terminal."""
        self.typed.clear()
        if self.input < 0:
            return
        try:
            termios.tcflush(self.input, termios.TCOFLUSH)
            terminal = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except (OSError, termios.error):  # the agent may have forbidden or removed its terminal's device
            return
        try:
            termios.tcflush(terminal, termios.TCIFLUSH)
        except termios.error:
            pass
        finally:
            os.close(terminal)

    def pump(self, send: Callable[[int, bytes, bytes], None]) -> bool:
        """Pass one piece of output on; whether there was one."""
        try:
            data = os.read(self.output, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last process let go of the terminal
            data = b""
        if not data:
            os.close(self.output)
            self.output = -1
            return False
        passed = data if self.is_terminal else data[: max(0, self.allowance)]
        if passed:
            send(self.channel, b"o", passed)
        self.allowance -= len(data)
        return True

    def feed(self) -> None:
        """Pass on what was typed, as far as it is taken."""
        try:
            del self.typed[: os.write(self.input, self.typed[:CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self.typed.clear()
        if not self.typed and not self.is_terminal:
            os.close(self.input)
            self.input = -1

    def close(self) -> None:
        for descriptor in {self.output, self.input} - {-1}:
            os.close(descriptor)
        self.output = self.input = -1
