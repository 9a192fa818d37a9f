"""Containers of dead runs are removed, those of living runs never."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from container_runtime import make_container, needs_containers, settings

from turnmix.sandboxes.container.engine import Engine, engine_for
from turnmix.sandboxes.container.owner import OWNER_LABEL, is_orphan, labels

pytestmark = needs_containers
START_AND_WAIT = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from container_runtime import DEBIAN
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import ContainerSettings

async def main():
    sandbox = ContainerSandbox(DEBIAN, settings=ContainerSettings(socket=sys.argv[2], pull="never"))
    await sandbox.start()
    print(sandbox.name, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def names():
    containers = engine_for(settings()).api.containers(all=True)
    return {name.lstrip("/") for container in containers for name in container["Names"]}


def create(label):
    """A container that never started, with the label of whoever."""
    api = engine_for(settings()).api
    return api.create_container("localhost/turnmix-test-tiny:1", ["sh"], labels={OWNER_LABEL: label})["Id"]


def test_a_run_that_is_killed_leaves_no_container():
    command = [sys.executable, "-c", START_AND_WAIT, str(Path(__file__).parent), settings().socket]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    name = process.stdout.readline().strip()
    assert name in names()
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while name in names() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert name not in names()


def test_what_a_dead_run_left_is_removed_by_the_next_one_and_nothing_else():
    dead = json.loads(labels()[OWNER_LABEL])
    dead["started"] = "1"
    elsewhere = {**dead, "machine": "another"}
    other_namespace = {**dead, "namespace": 1}
    orphan, foreign, unseen, strange = (
        create(json.dumps(label)) for label in (dead, elsewhere, other_namespace, ["?"])
    )

    async def scenario():
        living = make_container()
        await living.start()
        try:
            Engine(settings())
            left = {container["Id"] for container in engine_for(settings()).api.containers(all=True)}
            assert orphan not in left
            assert {foreign, unseen, strange} <= left
            assert (await living.run("echo alive")).output == b"alive\n"
        finally:
            await living.stop()

    try:
        asyncio.run(scenario())
    finally:
        for container in (foreign, unseen, strange):
            engine_for(settings()).remove(container)


def test_an_owner_is_dead_when_its_process_or_its_boot_is_gone():
    own = json.loads(labels()[OWNER_LABEL])

    def judged(state="running", **changes):
        return is_orphan({"Labels": {OWNER_LABEL: json.dumps({**own, **changes})}, "State": state})

    assert own["pid"] == os.getpid()
    assert not judged()
    assert judged(pid=2**22 + 1)
    assert judged(started="1")
    assert not judged(started="1", namespace=1)
    assert not judged(boot="earlier")
    assert judged("exited", boot="earlier")
    assert not judged("exited", boot="earlier", machine="another")
    assert not is_orphan({"Labels": {}, "State": "exited"})
