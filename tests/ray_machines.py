"""Ray nodes in this machine, as tests of clusters need them."""

import logging
import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path

from turnmix.policies.server.process import free_port

_SMALL = {"object_store_memory": 80 << 20}
_PROGRAMS = "/core/src/ray/"
"""In the command lines of what a node is made of."""


def command(pid):
    """The command line of a process; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def started(pid):
    """When a process began, in ticks, by which it is told from a later one of the same number; None: there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None


def processes(name):
    """Those with `name` in their command lines that this process began, or what it began did; the newest last."""
    parents, moments = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)], moments[int(path.parent.name)] = int(fields[1]), int(fields[19])

    def is_own(pid):
        while pid not in (0, os.getpid()):
            pid = parents.get(pid, 0)
        return pid != 0

    return sorted((pid for pid in parents if name in command(pid) and is_own(pid)), key=moments.get)


def added(cluster, **given):
    """A further node. Ray has 30 s for its start, in which a busy machine may have other work to do: what there is of
    it then is ended, and another one begun."""
    for is_last in (False, False, True):
        before = {*processes(_PROGRAMS)}
        try:
            return cluster.add_node(**given)
        except Exception:
            for pid in {*processes(_PROGRAMS)} - before:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if is_last:
                raise


@contextmanager
def machines(number, *, namespace, **resources):
    """A cluster of so many nodes, joined by this process; each with these resources."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for index in range(number):
            # Ray Train asks the first one's dashboard which of its actors are there, and waits where there is none.
            given = {"num_cpus": 2, "include_dashboard": index == 0, "dashboard_port": free_port(None)}
            added(cluster, **{**given, **_SMALL, **resources})
        ray.init(
            address=cluster.address, namespace=namespace, log_to_driver=False, logging_level=logging.ERROR
        )
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
