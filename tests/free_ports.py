"""Ports for servers whose port must be known before they listen.

The port that the system gives for 0 may be given again once it is free: to another server, or to a connection as its
own end, also to one that asks just this port. These lie below all that the system gives, and each worker of
pytest-xdist has its own.
"""

import os
import random
import socket
from pathlib import Path

FIRST = 20_000
WORKERS = 16
_given = set()


def free_port():
    """A port of 127.0.0.1 where nothing listens; none is given twice."""
    given_by_the_system = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    ports = [*range(FIRST + worker, max(given_by_the_system, FIRST + 4096), WORKERS)]
    for port in random.Random().sample(ports, len(ports)):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise AssertionError("there is no free port")
