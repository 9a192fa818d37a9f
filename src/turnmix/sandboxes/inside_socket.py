"""A socket that listens inside another network namespace, handed to this process.

    python -I -S inside_socket.py PID PORT < a socket of the kind AF_UNIX

In: the pid of a process in that namespace, and a port, 0: any. Out: a listening socket on the loopback there, sent over
the standard input's socket. What runs there reaches whoever holds it, and nothing else of where that one is. It needs
nothing but the standard library, because it is run as a file: a process of several threads may not change its user
namespace.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import sys

_NS_GET_USERNS = 0xB701
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_BACKLOG = 128


def main(pid: int, port: int) -> None:
    network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if os.fstat(network).st_ino != os.stat("/proc/self/ns/net").st_ino:
        owner = fcntl.ioctl(network, _NS_GET_USERNS)
        if os.fstat(owner).st_ino != os.stat("/proc/self/ns/user").st_ino:
            _enter(owner, _NEW_USER)
        _enter(network, _NEW_NETWORK)
    with socket.socket() as listening, socket.socket(fileno=0) as asked:
        listening.bind(("127.0.0.1", port))
        listening.listen(_BACKLOG)
        socket.send_fds(asked, [b"."], [listening.fileno()])


def _enter(namespace: int, kind: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, kind):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]))
    except OSError as error:
        sys.exit(f"{error}")
