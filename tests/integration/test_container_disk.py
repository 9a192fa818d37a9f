"""A container whose disk is full: on a file system of its own that is small enough to fill."""

import asyncio
import os
import signal
import subprocess

import pytest
from container_runtime import TINY, needs_containers, start_podman

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import CONTAINER_LIMITS, ContainerSettings

pytestmark = needs_containers
FILL = "busybox dd if=/dev/zero of=/fill bs=1M"


@pytest.fixture
def small_disk(tmp_path):
    """The settings of a service that keeps its containers on 24 MB."""
    graph = tmp_path / "graph"
    graph.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(graph)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here: run as root")
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{graph}"\nrunroot = "{tmp_path}/run"\n')
    variables = {"CONTAINERS_STORAGE_CONF": str(storage)}
    process = None
    try:
        image = subprocess.run(["podman", "save", TINY], check=True, capture_output=True).stdout
        load = {"input": image, "capture_output": True, "env": {**os.environ, **variables}}
        if subprocess.run(["podman", "load"], **load).returncode:
            pytest.skip("podman cannot keep containers on a tmpfs here")
        address, process = start_podman(tmp_path, **variables)
        yield ContainerSettings(socket=address, pull="never")
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)
        subprocess.run(["umount", "--lazy", f"{graph}/overlay"], capture_output=True)
        subprocess.run(["umount", "--lazy", str(graph)], capture_output=True)


def test_a_file_for_which_there_is_no_room_is_the_file_systems_error(small_disk):
    async def run():
        sandbox = ContainerSandbox(TINY, limits=CONTAINER_LIMITS, settings=small_disk)
        await sandbox.start()
        try:
            await sandbox.run(FILL)
            with pytest.raises(OSError, match="No space left on device") as caught:
                await sandbox.write_file("/testbed/x", b"x" * 100_000)
            assert caught.value.filename == "/testbed/x"
            with pytest.raises(SandboxError, match="No space left on device"):
                await sandbox.run("cat", stdin=b"x" * 100_000)
            assert b"turnmix" not in (await sandbox.run("echo /.*")).output
            await sandbox.run("rm /fill")
            await sandbox.write_file("/testbed/x", b"x" * 100_000)
        finally:
            await sandbox.stop()

    asyncio.run(asyncio.wait_for(run(), 300))


@pytest.mark.parametrize("names", [1, 2])
def test_a_file_whose_new_content_has_no_room_stays_what_it_was(small_disk, names):
    before = b"important = 1\n" * 20_000

    async def run():
        sandbox = ContainerSandbox(TINY, limits=CONTAINER_LIMITS, settings=small_disk)
        await sandbox.start()
        try:
            await sandbox.write_file("/testbed/x", before)
            if names == 2:
                await sandbox.run("busybox ln /testbed/x /testbed/y")
            # Room for the content on its way into the container, and for little beside it.
            await sandbox.run(f"{FILL}; busybox truncate -s -400k /fill")
            with pytest.raises(OSError, match="No space left on device"):
                await sandbox.write_file("/testbed/x", b"x" * 350_000)
            with pytest.raises(OSError, match="No space left on device"):
                await sandbox.write_file("/testbed/new/directory/z", b"x" * 350_000)
            assert await sandbox.read_file("/testbed/x") == before
            listing = (await sandbox.run("echo /.* /testbed/.* /testbed/*")).output
            assert b"turnmix" not in listing
            assert b"new" not in listing
        finally:
            await sandbox.stop()

    asyncio.run(asyncio.wait_for(run(), 300))
