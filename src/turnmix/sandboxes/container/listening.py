"""A way from a container to this process: a port of the container's own loopback, answered from here.

In: a container that runs. Out: a listening socket. The container gets no network for it, and nothing of this machine is
mounted into it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable

from turnmix.core.errors import SandboxError, UserError
from turnmix.sandboxes.container.engine import Engine
from turnmix.sandboxes.listening import listen_inside

LISTENING = "/proc/net/tcp"
_STATE, _INODE, _IS_LISTENING = 3, 9, b"0A"
"""Columns of that table, and a state."""


async def listen_in_container(
    engine: Engine, container: str, read_file: Callable[[str], Awaitable[bytes]]
) -> socket.socket:
    """At any port that is free. `read_file`: of the container.

    Raises:
        SandboxError: the container has ended.
        UserError: this process may not do it, or the container runs on another machine.
    """
    about = await engine.call(engine.api.inspect_container, container)
    process = int(about["State"]["Pid"])
    try:
        listening = await listen_inside(process, port=0)
    except SandboxError as error:
        await read_file(LISTENING)  # says whether the container lives
        raise _no_way_in(engine, str(error)) from error
    # The process of that number is the container's own only where the two share a machine.
    if not _holds(await read_file(LISTENING), listening):
        listening.close()
        raise _no_way_in(engine, "they run on another machine, or may not be entered")
    return listening


def _holds(table: bytes, listening: socket.socket) -> bool:
    """Is a socket among those that listen, as the kernel tells it in the container?"""
    wanted = str(os.fstat(listening.fileno()).st_ino).encode()
    rows = [line.split() for line in table.splitlines()[1:]]
    return any(row[_STATE : _INODE + 1 : _INODE - _STATE] == [_IS_LISTENING, wanted] for row in rows)


def _no_way_in(engine: Engine, told: str) -> UserError:
    return UserError(
        f"sandbox.container.socket: {engine.address}: nothing can listen inside its containers for a scaffold there "
        f"({told}): use Podman of your own user (systemctl --user start podman.socket) or run as root, on the same "
        "machine; or set rollouts.scaffold.where to outside"
    )
