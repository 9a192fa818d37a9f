"""A container runtime for tests: Podman, started on a socket of its own and ended with the tests.

`needs_containers` skips a test where there is none, and says what to install; `SETTINGS` leads to it.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from turnmix.sandboxes.container.engine import engine_for
from turnmix.sandboxes.container.owner import RUN_LABEL, labels
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import CONTAINER_LIMITS, ContainerSettings
from turnmix.sandboxes.sandbox import Limits

DEBIAN = "localhost/turnmix-test:1"
TINY = "localhost/turnmix-test-tiny:1"
SCRIPTS = Path(__file__).parents[2] / "scripts"


def _missing() -> str:
    try:
        import docker  # noqa: F401
    except ImportError:
        return "the Python package `docker` is not installed: pip install 'turnmix[containers]'"
    if shutil.which("podman") is None:
        return "podman is not installed: sudo apt-get install podman runc"
    for image in (DEBIAN, TINY):
        if subprocess.run(["podman", "image", "exists", image], capture_output=True).returncode:
            return f"the image {image} is not here: sh scripts/make_test_image.sh"
    return ""


MISSING = _missing()
needs_containers = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def start_podman(directory: Path, **environment: str) -> tuple[str, subprocess.Popen[bytes]]:
    """The address of a service of its own, and its process."""
    path = directory / "podman.sock"
    with (directory / "podman.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", str(SCRIPTS / "start_podman.sh"), str(path)],
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
        )
    deadline = time.monotonic() + 120
    while not answers(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((directory / "podman.log").read_text())
        time.sleep(0.02)
    return f"unix://{path}", process


@functools.cache
def settings() -> ContainerSettings:
    """Of a service that ends with this process."""
    directory = Path(tempfile.mkdtemp(prefix="turnmix-podman-"))
    address, process = start_podman(directory)

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)
        shutil.rmtree(directory, ignore_errors=True)

    atexit.register(end)
    return ContainerSettings(socket=address, pull="never")


def left_behind() -> list[dict[str, Any]]:
    """This process's containers, running or not."""
    api = engine_for(settings()).api
    found: list[dict[str, Any]] = api.containers(
        all=True, filters={"label": f"{RUN_LABEL}={labels()[RUN_LABEL]}"}
    )
    return found


def expect_none_left_behind() -> None:
    """The runtime itself removes one that has ended, which may take it a moment."""
    deadline = time.monotonic() + 60
    while left_behind() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_behind() == []


def make_container(limits: Limits | None = None, *, image: str = DEBIAN) -> ContainerSandbox:
    """A container's sandbox, not started."""
    return ContainerSandbox(image, limits=limits or CONTAINER_LIMITS, settings=settings())
