"""Making an image of a directory with a Dockerfile, by the container runtime.

In: the directory, as its author left it. Out: an image whose name holds the digest of all that lies there, made once,
however many processes want it. Nothing of the directory is unpacked, followed or run on this machine. It blocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from turnmix.core.errors import SandboxError
from turnmix.core.terminal import tell
from turnmix.sandboxes.settings import ImageBuild

REPOSITORY = "localhost/turnmix-built"
PIECE = 1 << 20
MOST_SHOWN = 600
"""Characters of what a build printed last."""
_FAILED: dict[str, str] = {}
"""Images that cannot be made, and why: what else lies there gives another name."""


def image_name(build: ImageBuild) -> str:
    """By names, kinds, rights and content of all files. Raises SandboxError: one cannot be read."""
    try:
        return f"{REPOSITORY}:{_digest(build.directory, _state(build.directory))}"
    except OSError as error:
        raise SandboxError(f"{error.filename}: {error.strerror}: make it readable") from error


def build_image(address: str, build: ImageBuild, name: str) -> None:
    """Raises SandboxError: it cannot be made, or takes too long."""
    import docker

    if name in _FAILED:
        raise SandboxError(_FAILED[name])
    deadline = time.monotonic() + build.seconds
    api = docker.APIClient(base_url=address, version="auto", timeout=build.seconds)
    try:
        with _locked(build, deadline):
            with contextlib.suppress(docker.errors.ImageNotFound):
                api.inspect_image(name)
                return
            tell(f"image {name}: being made of {build.directory}")
            _build(api, build, name, deadline)
            tell(f"image {name}: made")
    finally:
        api.close()


def _build(api: Any, build: ImageBuild, name: str, deadline: float) -> None:
    said, answers, post = "", [], api._post
    is_late = threading.Event()

    def posted(*arguments: Any, **options: Any) -> Any:
        answers.append(post(*arguments, **options))
        return answers[-1]

    def end() -> None:
        is_late.set()
        for answer in answers:  # the runtime gives up a build that nobody listens to
            with contextlib.suppress(Exception):
                api._get_raw_response_socket(answer).shutdown(socket.SHUT_RDWR)

    api._post = posted
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        options = {"rm": True, "forcerm": True, "use_config_proxy": False}
        for line in api.build(path=str(build.directory), tag=name, decode=True, **options):
            said = (said + str(line.get("stream", "")))[-MOST_SHOWN:]
            if "error" in line:
                told = " ".join((said + str(line["error"])).split())[-MOST_SHOWN:]
                _FAILED[name] = f"{build.directory}: its image cannot be made: {told}"
                break
    except Exception as error:
        if not is_late.is_set():
            raise
        raise _late(build) from error
    finally:
        timer.cancel()
    if is_late.is_set():
        raise _late(build)
    if name in _FAILED:
        raise SandboxError(_FAILED[name])


def _late(build: ImageBuild) -> SandboxError:
    return SandboxError(f"{build.directory}: its image was not made in {build.seconds:g} s")


@contextlib.contextmanager
def _locked(build: ImageBuild, deadline: float) -> Iterator[None]:
    """By the directory itself, which needs no file. Raises SandboxError: somebody else is at it too long."""
    held = os.open(build.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _late(build) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(held)


def _state(directory: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What tells whether the directory was changed: of each entry its name, mode, size and time."""
    found = []
    for above, folders, files in os.walk(directory, onerror=_raise):
        for name in [*folders, *files]:
            place = os.path.join(above, name)
            status = os.lstat(place)
            relative = os.path.relpath(place, directory)
            if relative in ("Dockerfile", ".dockerignore") and not stat.S_ISREG(status.st_mode):
                raise SandboxError(f"{place}: it is no regular file: make it one")
            is_folder = stat.S_ISDIR(status.st_mode)
            found.append(
                (
                    relative,
                    status.st_mode,
                    0 if is_folder else status.st_size,
                    0 if is_folder else status.st_mtime_ns,
                )
            )
    return tuple(sorted(found))


@lru_cache(maxsize=4096)
def _digest(directory: Path, state: tuple[tuple[str, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, mode, size, _ in state:
        place = directory / name
        digest.update(f"{len(os.fsencode(name))} {mode:o} {size}\0".encode() + os.fsencode(name))
        if stat.S_ISLNK(mode):
            digest.update(os.fsencode(os.readlink(place)))
        elif stat.S_ISREG(mode):
            with place.open("rb") as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
    return digest.hexdigest()[:24]


def _raise(error: OSError) -> None:
    raise error
