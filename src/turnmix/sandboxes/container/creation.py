"""How a container is created: its limits, its process 1, its labels.

Enters: an image and limits. Leaves: a container, not started. It blocks: it is called in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from turnmix.sandboxes.container.engine import Engine
from turnmix.sandboxes.container.owner import labels
from turnmix.sandboxes.container.settings import ContainerSettings
from turnmix.sandboxes.sandbox import Limits

BLOCK_BYTES = 512
"""Of `ulimit -f`."""
ENVIRONMENT = {
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_AUTHOR_NAME": "agent",
    "GIT_AUTHOR_EMAIL": "agent@localhost",
    "GIT_COMMITTER_NAME": "agent",
    "GIT_COMMITTER_EMAIL": "agent@localhost",
}
"""Beside what the image sets."""
PRIVILEGES_DROPPED = ["AUDIT_WRITE", "MKNOD", "NET_RAW"]


def create_container(
    engine: Engine,
    image: str,
    *,
    name: str,
    word: str,
    limits: Limits,
    settings: ContainerSettings,
    variables: Mapping[str, str],
) -> None:
    """Raises docker.errors.APIError."""
    from docker.errors import APIError

    for has_quota in (True, False) if engine.has_quotas else (False,):
        host = engine.api.create_host_config(
            network_mode=settings.network,
            mem_limit=limits.memory_bytes,
            memswap_limit=limits.memory_bytes,
            nano_cpus=int(settings.cpus * 1e9),
            pids_limit=limits.processes,
            storage_opt={"size": str(limits.disk_bytes)} if has_quota else None,
            auto_remove=True,
            log_config={"Type": "none", "Config": {}},  # else the daemon keeps all output on its disk
            security_opt=["no-new-privileges"],
            cap_drop=PRIVILEGES_DROPPED,
        )
        try:
            engine.api.create_container(
                image,
                ["-c", script("supervisor.sh"), "sh", word, str(limits.file_bytes // BLOCK_BYTES)],
                entrypoint=["/bin/sh"],
                name=name,
                user="0:0",
                working_dir="/",
                environment={**ENVIRONMENT, **variables},
                labels=labels(),
                stdin_open=True,
                use_config_proxy=False,  # the proxies of ~/.docker/config.json, with their passwords
                host_config=host,
            )
            return
        except APIError as error:
            if not has_quota or not re.search("storage.opt|quota", str(error), re.IGNORECASE):
                raise
            engine.has_quotas = False


@lru_cache
def script(name: str) -> str:
    """The text of a shell script of this package."""
    return (Path(__file__).parent / name).read_text()
