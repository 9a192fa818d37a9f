"""How a container is created: its limits, its process 1, its labels.

In: an image and limits. Out: a container, not started. It blocks: it is called in a thread.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from turnmix.sandboxes.container.engine import Engine, Option
from turnmix.sandboxes.container.owner import labels
from turnmix.sandboxes.container.seccomp_profile import seccomp_profile
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
NO_PROXY = {name: "" for name in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")}
NO_PROXY |= {name.upper(): "" for name in NO_PROXY}
"""Podman gives containers those of its own environment, which may hold a password; where they are set it does not."""
PRIVILEGES = [
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
    "SETUID", "SYS_CHROOT",
]  # fmt: skip
"""What root keeps inside: what installing and testing software needs. Of these none reaches out of a container, lowers
its `oom_score_adj`, raises its limits, or traces what has more."""
PROCESS_1_MASK = "mask=/proc/1/mem:/proc/1/task"
"""The memory of process 1, by which it could be made to kill itself as if from outside."""
FIRST_TO_BE_KILLED = 500
"""`oom_score_adj`, which nothing inside can lower where the runtime has all rights of root: a machine that is out of
memory kills in containers first, and there the commands, which have 1000, before what runs them."""
TERMINALS = 32
"""Pseudo-terminals of one container: a machine has 4096 of them, of which containers get three quarters."""
TERMINALS_MOUNT = {"Type": "devpts", "Target": f"/dev/pts,gid=5,mode=620,max={TERMINALS}"}


def create_container(
    engine: Engine,
    image: str,
    *,
    name: str,
    limits: Limits,
    settings: ContainerSettings,
    variables: Mapping[str, str],
) -> None:
    """Raises docker.errors.APIError."""
    from docker.errors import APIError

    while True:
        options = engine.options
        with _seccomp(engine, options) as security:
            host = engine.api.create_host_config(
                network_mode=settings.network,
                mem_limit=limits.memory_bytes,
                memswap_limit=limits.memory_bytes,
                nano_cpus=int(settings.cpus * 1e9),
                pids_limit=limits.processes,
                oom_score_adj=FIRST_TO_BE_KILLED,
                storage_opt={"size": str(limits.disk_bytes)} if Option.quota in options else None,
                auto_remove=True,
                log_config={"Type": "none", "Config": {}},  # else the daemon keeps all output on its disk
                security_opt=[
                    "no-new-privileges",
                    *security,
                    *([PROCESS_1_MASK] if engine.is_podman else ()),
                ],
                cap_drop=["ALL"],
                cap_add=PRIVILEGES,
                mounts=[TERMINALS_MOUNT] if Option.terminals in options else [],
            )
            try:
                engine.api.create_container(
                    image,
                    ["-c", script("supervisor.sh"), "sh", str(limits.file_bytes // BLOCK_BYTES)],
                    entrypoint=["/bin/sh"],
                    name=name,
                    user="0:0",
                    working_dir="/",
                    environment={**NO_PROXY, **ENVIRONMENT, **variables},
                    labels=labels(),
                    stdin_open=True,
                    host_config=host,
                    use_config_proxy=False,  # the proxies of ~/.docker/config.json, with their passwords
                )
                return
            except APIError as error:
                if not engine.go_without(options, str(error)):
                    raise


@contextlib.contextmanager
def _seccomp(engine: Engine, options: frozenset[Option]) -> Iterator[list[str]]:
    """The profile as the runtime takes it, for one creation: as text, or, in Podman, as a file that it reads."""
    if Option.profile not in options:
        yield []
    elif not engine.is_podman:
        yield [f"seccomp={seccomp_profile()}"]
    else:
        with tempfile.NamedTemporaryFile("w", prefix="turnmix-seccomp-", suffix=".json") as file:
            file.write(seccomp_profile())
            file.flush()
            yield [f"seccomp={file.name}"]


@lru_cache
def script(name: str) -> str:
    """The text of a shell script of this package."""
    return (Path(__file__).parent / name).read_text()
