"""Ray nodes in this machine, as tests of clusters need them."""

import logging
import os
import socket
from contextlib import contextmanager
from pathlib import Path

_SMALL = {"object_store_memory": 80 << 20}


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def command(pid):
    """The command line of a process; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def processes(name):
    """Those with `name` in their command lines that this process began, or what it began did."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue

    def is_own(pid):
        while pid not in (0, os.getpid()):
            pid = parents.get(pid, 0)
        return pid != 0

    return sorted(pid for pid in parents if name in command(pid) and is_own(pid))


@contextmanager
def machines(number, *, namespace, **resources):
    """A cluster of so many nodes, joined by this process; each with these resources."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for index in range(number):
            # Ray Train asks the first one's dashboard which of its actors are there, and waits where there is none.
            given = {"num_cpus": 2, "include_dashboard": index == 0, "dashboard_port": _free_port()}
            cluster.add_node(**{**given, **_SMALL, **resources})
        ray.init(
            address=cluster.address, namespace=namespace, log_to_driver=False, logging_level=logging.ERROR
        )
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
