"""What a process holds: descriptors, children, directories. For tests that leave nothing behind.

Programs of such tests run in a process of their own, which `under_limit` starts with a limit of descriptors.
"""

import asyncio
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from process_table import is_running
from turnmix.sandboxes.memory_group import _place

CHILD_SUBREAPER = 36
SECONDS = 60.0
DIRECTORY = Path(__file__).parent


def under_limit(program, soft, hard=None, **options):
    """What the program prints. Its temporary directory is its own."""
    with tempfile.TemporaryDirectory() as temporary:
        return _run(program, soft, hard or soft, temporary, **options)


def _run(program, soft, hard, temporary, **options):
    words = ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh"]
    done = subprocess.run(
        [*words, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "TMPDIR": temporary, "PYTHONPATH": os.pathsep.join([str(DIRECTORY), *sys.path])},
        **options,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def own_orphans():
    """Processes that this process's children leave behind are its own from now on, so that they are counted."""
    ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)


def held():
    """Descriptors by what they lead to; children; directories of sandboxes."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # another thread has closed it meanwhile
            links.append(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
    return {
        "descriptors": sorted(links),
        "children": [child for task in os.listdir("/proc/self/task") for child in children_of(task)],
        "directories": directories(),
    }


def directories():
    """Of sandboxes of this process: their memory groups, and where they have none of the machine's own their files."""
    place = _place(os.getpid())
    groups = os.listdir(place.directory) if place is not None else []
    files = [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("turnmix-unsandboxed-")]
    return sorted([*files, *(name for name in groups if f"-{os.getpid()}-" in name)])


def children_of(task):
    """Of a thread, if there still is one: those that live. An orphan that has ended waits for this process, which does
    not wait for it."""
    with suppress(OSError):
        return [
            pid for pid in Path(f"/proc/self/task/{task}/children").read_text().split() if is_running(pid)
        ]
    return []


async def held_at_rest():
    """What is held once what was before has gone."""
    while (now := held())["children"] or now["directories"]:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0.02)
    return now


async def expect_nothing_more_than(before, case):
    """What goes by itself may take its time."""
    deadline = time.monotonic() + SECONDS
    while (now := held()) != before and time.monotonic() < deadline:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(0.02)
    assert now == before, (case, before, now)


def limit_to(soft):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@contextmanager
def hold_all_but(num_free):
    """So many descriptors are left in the block."""
    filled = []
    try:
        with suppress(OSError):
            while True:
                filled.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(num_free):
            os.close(filled.pop())
        yield
    finally:
        for descriptor in filled:
            os.close(descriptor)
