"""A way from a sandbox that has no network to this process: a port of the sandbox's own loopback, answered from here.

In: the pid of a process inside. Out: a listening socket.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from turnmix.core.child_environment import child_environment
from turnmix.core.errors import SandboxError
from turnmix.sandboxes import inside_socket

PORT = 8642
"""Where a scaffold inside finds the gateway."""
_SECONDS = 30.0


async def listen_inside(pid: int, *, port: int = PORT) -> socket.socket:
    """Raises SandboxError: the network namespace of that process cannot be entered from here."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", inside_socket.__file__, str(pid), str(port)),
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=child_environment(),
            )
        try:
            _, told = await asyncio.wait_for(process.communicate(), _SECONDS)
        except BaseException:
            process.kill()
            await process.wait()
            raise
        ours.setblocking(False)
        try:
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        except BlockingIOError:
            descriptors = []
    if not descriptors:
        raise SandboxError(
            f"nothing can listen inside this sandbox: {told.decode('utf-8', 'replace').strip() or 'no socket came'}"
        )
    return socket.socket(fileno=descriptors[0])
