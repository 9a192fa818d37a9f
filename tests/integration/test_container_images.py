"""Images fetched by a real Podman from a small registry that can be told to refuse."""

import asyncio
import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from container_runtime import needs_containers, start_podman

from turnmix.core.errors import SandboxError, UserError
from turnmix.sandboxes.container.engine import Engine
from turnmix.sandboxes.container.images import ensure_image, is_rate_limit
from turnmix.sandboxes.container.pulls import PULLS
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import ContainerSettings

pytestmark = needs_containers
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
RATE_LIMIT = {"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit."}]}


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Registry:
    """Speaks as much of the registry's protocol as a pull needs. `refusals`: how often it refuses first, and
    with which status."""

    def __init__(self):
        layer, config = self._busybox()
        zipped = gzip.compress(layer, mtime=0)
        described = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._part("application/vnd.oci.image.config.v1+json", config),
            "layers": [self._part("application/vnd.oci.image.layer.v1.tar+gzip", zipped)],
        }
        self.manifest = json.dumps(described).encode()
        self.blobs = {digest(content): content for content in (config, zipped)}
        self.refusals = (0, 429)
        self.num_asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.is_asked = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                registry.answer(self)

            do_HEAD = do_GET

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def answer(self, request):
        found = re.fullmatch(r"/v2/busybox/(manifests|blobs)/(.+)", request.path)
        if request.path == "/v2/":
            return self._send(request, 200, b"{}")
        if found is None:
            missing = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            return self._send(request, 404, json.dumps(missing).encode())
        if found[1] == "blobs":
            return self._send(request, 200, self.blobs[found[2]], "application/octet-stream")
        self.num_asked += 1
        self.is_asked.set()
        self.gate.wait(600)
        times, status = self.refusals
        if self.num_asked <= times:
            return self._send(request, status, json.dumps(RATE_LIMIT if status == 429 else {}).encode())
        return self._send(request, 200, self.manifest, MANIFEST)

    def _send(self, request, status, content, kind="application/json"):
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("Retry-After", "0")  # else Podman itself waits for minutes
        request.send_header("Docker-Content-Digest", digest(content))
        request.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def _part(self, kind, content):
        return {"mediaType": kind, "digest": digest(content), "size": len(content)}

    def _busybox(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add("/bin/busybox", "bin/busybox")
            for name in ("sh", "cat", "mkdir", "rm"):
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        layer = buffer.getvalue()
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
        return layer, json.dumps(config).encode()


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A registry, and a Podman with a storage of its own that trusts it."""
    registry = Registry()
    directory = tmp_path_factory.mktemp("podman")
    configuration = directory / "registries.conf"
    configuration.write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    address, process = start_podman(directory, CONTAINERS_REGISTRIES_CONF=str(configuration))
    try:
        yield registry, Engine(ContainerSettings(socket=address))
    finally:
        process.terminate()
        process.wait(timeout=120)
        registry.server.shutdown()


@pytest.fixture
def pull(runtime):
    """Pull the image, with the registry's refusals given; the image is not there before."""
    registry, engine = runtime
    own = f"{registry.host}/busybox:1"

    def pull(name=own, refusals=(0, 429), **settings):
        registry.num_asked, registry.refusals = 0, refusals
        seen = []
        chosen = ContainerSettings(socket=engine.address, **settings)
        ensure_image(engine.api, name, chosen, on_progress=seen.append, first_pause=0.01)
        return seen

    def remove():
        for found in engine.api.images(name=f"{registry.host}/busybox"):
            engine.api.remove_image(found["Id"], force=True)

    pull.registry, pull.engine, pull.image, pull.remove = registry, engine, own, remove
    yield pull
    remove()


def test_a_missing_image_is_fetched_once_with_progress_and_works(pull):
    seen = pull()
    assert seen[-1].is_complete
    asked = pull.registry.num_asked
    assert asked >= 1
    assert pull() == []
    assert pull.registry.num_asked == 0

    assert asyncio.run(printed(sandbox_of(pull, 1))) == b"works\n"


def test_always_asks_again(pull):
    pull()
    pull(pull="always")
    assert pull.registry.num_asked >= 1


def test_a_registry_that_recovers_is_asked_again(pull):
    assert pull(refusals=(2, 500))[-1].is_complete
    assert pull.registry.num_asked > 2


def test_a_rate_limit_is_said_in_so_many_words(pull):
    with pytest.raises(SandboxError, match=r"rate limit.*docker login") as caught:
        pull(refusals=(10**6, 429), pull_attempts=2)
    assert "toomanyrequests" in str(caught.value)


@pytest.mark.parametrize(
    ("is_the_recipes", "error"), [(True, UserError), (False, SandboxError)], ids=["the recipe's", "a task's"]
)
def test_an_image_that_no_registry_has_is_the_mistake_of_who_names_it(pull, is_the_recipes, error):
    image = f"{pull.registry.host}/absent:1"
    named = {"image": image} if is_the_recipes else {}
    with pytest.raises(error, match="there is no image"):
        pull(image, **named)
    with pytest.raises(error, match=r"sandbox\.container\.pull=missing"):
        pull(image, pull="never", **named)
    assert pull.registry.num_asked == 0


def sandbox_of(pull, tag):
    image = f"{pull.registry.host}/busybox:{tag}"
    return ContainerSandbox(image, settings=ContainerSettings(socket=pull.engine.address))


async def printed(sandbox):
    try:
        await sandbox.start()
        return (await sandbox.run("echo works")).output
    finally:
        await sandbox.stop()


def test_sandboxes_that_want_one_image_fetch_it_once(pull):
    pull()
    asked = pull.registry.num_asked
    pull.remove()

    async def many():
        return await asyncio.gather(*(printed(sandbox_of(pull, 1)) for _ in range(8)))

    pull.registry.num_asked = 0
    assert asyncio.run(many()) == [b"works\n"] * 8
    assert pull.registry.num_asked == asked


def test_many_images_that_are_slow_to_come_hold_up_no_container(pull):
    pull()
    pull.registry.num_asked = 0

    async def scenario():
        running = sandbox_of(pull, 1)
        await running.start()
        pull.registry.gate.clear()
        pull.registry.is_asked.clear()
        waiting = [asyncio.create_task(sandbox_of(pull, tag).start()) for tag in range(2, 32)]
        try:
            assert await asyncio.to_thread(pull.registry.is_asked.wait, 60)
            # Input is laid as a file, which takes a call to the daemon.
            assert (await asyncio.wait_for(running.run("cat", stdin=b"still"), 120)).output == b"still"
            assert await asyncio.wait_for(printed(sandbox_of(pull, 1)), 120) == b"works\n"
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            pull.registry.gate.set()
            await running.stop()

    asyncio.run(scenario())
    while (asked := pull.registry.num_asked) and not time.sleep(1) and asked != pull.registry.num_asked:
        pass
    assert asked <= PULLS  # those that nobody waits for any more were given up


@pytest.mark.parametrize(
    "words",
    [
        "toomanyrequests: You have reached your unauthenticated pull rate limit.",
        "received unexpected HTTP status: 429 Too Many Requests",
    ],
)
def test_what_registries_say_of_rate_limits_is_understood(words):
    assert is_rate_limit(words)
    assert not is_rate_limit("connection reset by peer")
