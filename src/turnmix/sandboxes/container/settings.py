"""What a user configures of containers."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from turnmix.core.settings import Settings
from turnmix.sandboxes.sandbox import Limits

CONTAINER_LIMITS = Limits(
    memory_bytes=4 << 30,
    processes=512,
    file_bytes=4 << 30,
    disk_bytes=16 << 30,
    wall_seconds=7200.0,
)
"""What a container may use where a recipe does not say: enough for the tests of a large repository."""
HANDLING = frozenset({"socket", "pull", "pull_attempts", "starts", "start_timeout"})
"""Settings of how containers come about, on which nothing inside depends."""


class ContainerSettings(Settings):
    """How containers are made. Memory, processes, files, disk and time are set beside this section."""

    image: str | None = None
    """The image of tasks that do not name their own."""
    socket: str | None = None
    """Where Docker or Podman listens, unix:///path or tcp://host:port; left out, as DOCKER_HOST says, else
    the usual paths."""
    cpus: PositiveFloat = 1.0
    """Processors of one container."""
    network: str = "none"
    """The network of a container. With any other than `none` an agent can look the fix up."""
    pull: Literal["missing", "always", "never"] = "missing"
    """When an image is fetched: missing, where it is not on this machine; always, to have its newest; never."""
    pull_attempts: int = Field(default=5, ge=1)
    """Attempts at fetching an image, with growing pauses."""
    starts: PositiveInt = 4
    """Containers being created or started at one moment."""
    start_timeout: PositiveFloat = 120.0
    """Seconds for each step of starting a container."""

    @field_validator("socket")
    @classmethod
    def _of_a_known_kind(cls, socket: str | None) -> str | None:
        if socket is not None and not re.match(r"unix:///.|tcp://[^/]+:\d+$", socket):
            raise ValueError(
                f"{socket!r} is not supported: use unix:///path or tcp://host:port; "
                "bring a remote one here by ssh -L /tmp/docker.sock:/var/run/docker.sock HOST"
            )
        return socket
