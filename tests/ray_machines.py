"""Ray nodes in this machine, as tests of clusters need them."""

import logging
import os
import socket
from contextlib import contextmanager

PATIENCE = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""A machine that is busy with other tests starts nodes slowly."""


_SMALL = {"object_store_memory": 80 << 20}


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def patient():
    """Inside, Ray waits for what begins slowly."""
    before = {name: os.environ.get(name) for name in PATIENCE}
    os.environ.update(PATIENCE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def machines(number, *, namespace, **resources):
    """A cluster of so many nodes, joined by this process; each with these resources."""
    import ray
    from ray.cluster_utils import Cluster

    with patient():
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
