"""What a recipe says of the machines that it runs on; importing it loads no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from turnmix.core.errors import MissingDependencyError
from turnmix.core.settings import Settings

AUTO = "auto"
LOCAL = "local"
SECTION = "cluster"
"""The section of a recipe on which no trajectory and no weight depends."""


class ClusterSettings(Settings):
    """The machines of a run. What a run ends in does not depend on them."""

    address: str = AUTO
    """auto: the Ray cluster of this machine or this Ray job; local: one on this machine alone, which begins and ends
    with the command; or host:port of a cluster's head."""
    rollout_workers: int = Field(default=2, ge=1)
    """Processes that roll out and evaluate, spread over the machines. Each has rollouts.concurrency trajectories under
    way."""
    cpus_per_worker: float = Field(default=1.0, ge=0)
    """What Ray keeps free for each of them: CPU cores."""
    gpus_per_worker: float = Field(default=0.0, ge=0)
    """And GPUs, or parts of one: for students that act on the workers."""
    resources_per_worker: dict[str, float] = Field(default_factory=dict)
    """And resources of your own, as `ray start --resources` names them."""
    learners: int = Field(default=0, ge=0)
    """Processes that learn together, by FSDP2; 0: the student learns in the process of the command."""
    gpus_per_learner: float = Field(default=0.0, ge=0)
    """What Ray keeps free for each of them: GPUs."""
    servers: int = Field(default=0, ge=0)
    """Servers of the student, as student.server describes one, placed and watched on the cluster's machines; 0:
    none, as where student.server.endpoint names one."""
    heartbeat_seconds: float = Field(default=10.0, gt=0)
    """A worker that gives no sign of life for twice as long is ended and replaced."""
    worker_failures: int = Field(default=3, ge=1)
    """A machine that lost so many workers gets none any more, and a run stops at trajectories that lost so many."""

    @field_validator("address")
    @classmethod
    def _is_address(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if address not in (AUTO, LOCAL) and not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(
                f"is neither {AUTO}, {LOCAL} nor the host:port of a Ray cluster's head, such as 10.0.0.1:6379"
            )
        return address


def check_ray_installed() -> None:
    """Raises MissingDependencyError: Ray is not installed."""
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        raise MissingDependencyError("cluster: needs the package ray: pip install 'turnmix[ray]'") from None


def without_cluster(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved recipe's mapping without what its run does not depend on."""
    return {name: value for name, value in resolved.items() if name != SECTION}
