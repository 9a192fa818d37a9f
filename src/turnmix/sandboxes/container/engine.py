"""Docker or Podman, as one connection that all sandboxes of a process share.

In: blocking calls of the docker SDK, and streams to open. Out: awaitable results. The calls run in a
bounded number of threads, those that start containers or fetch images in a few of their own; what can go on for
long (the streams of a container) is a socket of the event loop and holds no thread.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import functools
import io
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Any

from turnmix.core.errors import MissingDependencyError, SandboxError
from turnmix.core.file_descriptors import shortage
from turnmix.core.json_text import json_value
from turnmix.core.terminal import tell
from turnmix.sandboxes.container.building import build_image, image_name
from turnmix.sandboxes.container.images import PullProgress, ensure_image, has_image
from turnmix.sandboxes.container.owner import OWNER_LABEL, is_orphan
from turnmix.sandboxes.container.pulls import Pulls
from turnmix.sandboxes.container.settings import ContainerSettings
from turnmix.sandboxes.container.stream import Stream, open_stream
from turnmix.sandboxes.settings import ImageBuild

CALLS = 16
"""Calls to the daemon at one moment."""
REMOVAL_ATTEMPTS = 3
NO_PROFILE = (
    "warning: Podman cannot read the system call filter of TurnMix's containers, as where it runs on another machine, "
    "and uses its own: {refusal}"
)


class Option(Enum):
    """What not every runtime can give a container. The value: how a refusal speaks of it."""

    quota = "storage.opt|quota"
    profile = "opening seccomp profile"
    terminals = "devpts|/dev/pts"


class Engine:
    """Made by `engine_for`."""

    def __init__(self, settings: ContainerSettings) -> None:
        self.address = _address(settings)
        self.timeout = settings.start_timeout
        self.api = _connect(self.address, settings.start_timeout)
        self.is_podman = any(
            "Podman" in str(part.get("Name")) for part in self.api.version().get("Components") or ()
        )
        self.options = frozenset(Option) if self.is_podman else frozenset({Option.quota, Option.profile})
        """Of a container; fewer once the runtime has refused one."""
        self._calls = ThreadPoolExecutor(CALLS, "turnmix-container")
        self._starts = ThreadPoolExecutor(settings.starts, "turnmix-container-start")
        self._pulls = Pulls()
        for container in self.orphans():
            self.remove(container["Id"])

    async def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """`function` in a thread. Raises SandboxError for whatever the daemon answers."""
        return await self._in(self._calls, functools.partial(function, *arguments, **options))

    async def call_to_start(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """As `call`, in one of the few threads that start containers."""
        return await self._in(self._starts, functools.partial(function, *arguments, **options))

    async def have_image(
        self,
        image: str,
        settings: ContainerSettings,
        *,
        on_progress: Callable[[PullProgress], None] | None = None,
    ) -> None:
        """As `ensure_image`; who has the image waits for no other one's. Raises as it does."""
        if settings.pull == "missing" and await self.call(has_image, self.api, image):
            return
        fetch = functools.partial(ensure_image, self.api, image, settings, on_progress=on_progress)
        with self._as_sandbox_errors():
            await self._pulls.pull(image, fetch)

    async def have_built(self, build: ImageBuild) -> str:
        """The name of the image that `build` makes; it is made unless it is here. Raises SandboxError."""
        name = await self.call(image_name, build)
        if not await self.call(has_image, self.api, name):
            fetch = functools.partial(build_image, self.address, build, name)
            with self._as_sandbox_errors():
                await self._pulls.pull(name, fetch)
        return str(name)

    async def stream(self, path: str, body: dict[str, Any] | None = None, *, is_raw: bool = False) -> Stream:
        """A two-way connection to a container or to a process in it."""
        path = f"/v{self.api.api_version}{path}"
        try:
            return await asyncio.wait_for(open_stream(self.address, path, body, is_raw=is_raw), self.timeout)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
            raise SandboxError(f"{self.address}: {shortage(error) or repr(error)}") from error

    async def exec_stream(
        self, container: str, script: list[str], *, environment: dict[str, str], has_terminal: bool
    ) -> Stream:
        """Run `/bin/sh -c` in a container, with input and output over the stream."""
        created = await self.call(
            self.api.exec_create,
            container,
            ["/bin/sh", "-c", *script],
            stdin=True,
            tty=has_terminal,
            environment=environment,
        )
        options = {"Detach": False, "Tty": has_terminal}
        return await self.stream(f"/exec/{created['Id']}/start", options, is_raw=has_terminal)

    def put_file(self, container: str, name: str, content: bytes) -> None:
        """Lay a file into the container's root directory. Blocks. Raises OSError where there is no room."""
        from docker.errors import APIError

        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(content))
        try:
            self.api.put_archive(container, "/", buffer.getvalue())
        except APIError as error:
            # The daemon passes the file system's own words on.
            for number in (errno.ENOSPC, errno.EDQUOT):
                if os.strerror(number).lower() in str(error.explanation).lower():
                    raise OSError(number, os.strerror(number)) from error
            raise

    def written_bytes(self, container: str) -> int:
        """What the container's files take beyond its image. Blocks, as long as the daemon counts."""
        url = self.api._url("/containers/{0}/json", container)  # the SDK's own method leaves the size out
        return int(self.api._result(self.api._get(url, params={"size": 1}), True).get("SizeRw") or 0)

    def file_bytes(self, container: str, path: str) -> int:
        """The size of a file in a container; 0 where there is none. Blocks."""
        url = self.api._url("/containers/{0}/archive", container)
        told = self.api.head(url, params={"path": path}).headers.get("X-Docker-Container-Path-Stat", "")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return int(json_value(base64.b64decode(told))["size"])
        return 0

    def remove(self, container: str) -> None:
        """Kill and remove a container, if it is still there. Blocks."""
        from docker.errors import APIError

        for attempt in range(REMOVAL_ATTEMPTS):
            try:
                self.api.remove_container(container, force=True, v=True)
                return
            except APIError as error:
                if error.status_code == 404:
                    return
                if error.status_code != 409 and attempt == REMOVAL_ATTEMPTS - 1:
                    raise
            time.sleep(0.2)

    def orphans(self) -> list[dict[str, Any]]:
        """Containers whose owner has died. Blocks."""
        found = self.api.containers(all=True, filters={"label": OWNER_LABEL})
        return [container for container in found if is_orphan(container)]

    def go_without(self, options: frozenset[Option], refusal: str) -> bool:
        """Give up the option of a creation with `options` that a refusal is about; False where it is about none."""
        for option in options:
            if re.search(option.value, refusal, re.IGNORECASE):
                if option is Option.profile and option in self.options:
                    tell(NO_PROFILE.format(refusal=refusal))
                self.options -= {option}
                return True
        return False

    async def _in(self, pool: ThreadPoolExecutor, function: Callable[[], Any]) -> Any:
        with self._as_sandbox_errors():
            return await asyncio.get_running_loop().run_in_executor(pool, function)

    @contextlib.contextmanager
    def _as_sandbox_errors(self) -> Iterator[None]:
        from docker.errors import DockerException
        from requests.exceptions import RequestException, Timeout

        try:
            yield
        except Timeout as error:
            raise SandboxError(
                f"{self.address} did not answer in {self.timeout:g} s: raise "
                "sandbox.container.start_timeout, or lower rollouts.concurrency"
            ) from error
        except (DockerException, RequestException) as error:
            told = shortage(error) or getattr(error, "explanation", None) or error
            raise SandboxError(f"{self.address}: {told}") from error
        except OSError as error:
            if told := shortage(error):
                raise SandboxError(f"{self.address}: {told}") from error
            raise


@functools.lru_cache(maxsize=8)
def engine_for(settings: ContainerSettings) -> Engine:
    """The engine of these settings; at the first call, containers that dead runs left are removed. Blocks.

    Raises:
        MissingDependencyError: the SDK is not installed, or nothing answers.
        SandboxError: this process has no descriptor left to ask.
    """
    return Engine(settings)


async def connected(settings: ContainerSettings) -> Engine:
    """`engine_for`, in one thread, so that sandboxes that begin together share one connection."""
    return await asyncio.get_running_loop().run_in_executor(_connecting(), engine_for, settings)


@functools.lru_cache
def _connecting() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "turnmix-container-connect")


def _connect(address: str, timeout: float) -> Any:
    try:
        import docker
    except ImportError:
        raise MissingDependencyError(
            "sandbox.kind = container: the Python package `docker` is not installed: "
            "pip install 'turnmix[containers]'"
        ) from None
    from requests.exceptions import RequestException

    api: Any = None
    try:
        api = docker.APIClient(base_url=address, version="auto", timeout=timeout, max_pool_size=CALLS)
        api.ping()
    except (docker.errors.DockerException, RequestException, OSError) as error:
        with contextlib.suppress(Exception):
            api.close()
        if told := shortage(error):
            raise SandboxError(f"{address}: {told}") from None
        raise MissingDependencyError(
            f"sandbox.kind = container: no Docker or Podman answers at {address} ({error}). Install and start "
            "one (sudo apt-get install podman runc; podman system service --time=0 unix:///tmp/podman.sock), "
            "and name its socket: sandbox.container.socket=unix:///tmp/podman.sock, or DOCKER_HOST"
        ) from None
    return api


def _address(settings: ContainerSettings) -> str:
    named = settings.socket or os.environ.get("DOCKER_HOST")
    if named:
        return ContainerSettings(socket=named).socket or ""
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    usual = ("/var/run/docker.sock", f"{runtime}/podman/podman.sock", "/run/podman/podman.sock")
    return "unix://" + next((path for path in usual if os.path.exists(path)), usual[0])
