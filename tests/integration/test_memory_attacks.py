"""Attacks by memory that belongs to no process's pages: what a sandbox may hold is what its limit says, in all.

As root, each runs twice: once as root, where the kernel counts (if it has memory cgroups for this user), and once as
an ordinary user, where it does not, and the watchdog does.
"""

import asyncio
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_machine_attacks import score_of
from test_sandbox_attacks import MISSING, attack  # noqa: F401 (attack: a fixture)

from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.memory_group import remove_stale
from turnmix.sandboxes.memory_place import PREFIX, find_place
from turnmix.sandboxes.sandbox import Limits, SandboxLimitExceeded

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

MEMORY = 96 << 20
LIMITS = Limits(memory_bytes=MEMORY, disk_bytes=32 << 20, wall_seconds=600)
MOST = 1200 << 20
"""An attack that nothing stops takes about as much, and no more."""
SLACK = 256 << 20
"""What others on this machine may take meanwhile, and an attack between two looks of the watchdog."""

HOLD = f"""
import ctypes, mmap, os, socket, sys, time
MOST = {MOST}
def hold():
    print("HOLDING", flush=True)
    time.sleep(20)
    print("SURVIVED", flush=True)
def in_processes(number, function):
    for _ in range(number):
        if os.fork() == 0:
            function()
            time.sleep(1.5)
            os._exit(0)
    for _ in range(number):
        os.wait()
def fill(sender):
    sender.setblocking(False)
    try:
        while True:
            sender.send(b"x" * 32768)
    except OSError:
        pass
"""
SOCKETS = """
def attack():
    held = []
    try:
        for _ in range(MOST // 8 // 400_000):
            pair = socket.socketpair(socket.{family})
            held.append(pair)
            for end in pair:
                fill(end)
    except OSError:
        pass
    time.sleep(1.5)
in_processes(8, attack)
"""
PAGE_TABLES = """
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for _ in range(MOST // (2 << 20)):
    start = libc.mmap(None, 1 << 30, 1, 0x4022, -1, 0)
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(1 << 30), 15)
    for offset in range(0, 1 << 30, 2 << 20):
        ctypes.c_byte.from_address(start + offset).value
hold()
"""
PIPES = """
def attack():
    held = []
    try:
        while True:
            held.append(os.pipe())
            os.set_blocking(held[-1][1], False)
            os.write(held[-1][1], b"x" * 65536)
    except OSError:
        pass
    time.sleep(1.5)
in_processes(24, attack)
"""
NETLINK = """
import struct
ask = struct.pack("=IHHII4x", 20, 3, 5, 1, 0)  # a request that is answered, and an answer that nobody reads
def attack():
    held = []
    try:
        for _ in range(MOST // 8 // 1_600_000):
            held.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
            held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            for _ in range(2000):
                held[-1].sendto(ask, (0, 0))
    except OSError:
        pass
    time.sleep(1.5)
in_processes(8, attack)
"""
TCP = """
def attack():
    listening = socket.create_server(("127.0.0.1", 0))
    held = []
    try:
        while len(held) < 200:
            held.append((socket.create_connection(listening.getsockname()), listening.accept()[0]))
            for end in held[-1]:
                fill(end)
    except OSError:
        pass
    time.sleep(1.5)
in_processes(4, attack)
"""
UNMAPPED = """
libc = ctypes.CDLL(None)
held = []
for _ in range(MOST >> 22):
    block = mmap.mmap(-1, 4 << 20)
    block.write(b"x" * (4 << 20))
    block.madvise(mmap.MADV_DONTNEED)  # no process's page any more, and held all the same
    held.append(block)
hold()
"""
ATTACKS = {
    "unix sockets": SOCKETS.format(family="AF_UNIX"),
    "page tables": PAGE_TABLES,
    "pipes": PIPES,
    "netlink": NETLINK,
    "tcp": TCP,
}


def kilobytes_of_machine():
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {name: int(value.split()[0]) for name, value in fields.items()}


def held_by_kernel():
    """Bytes that are neither free nor pages of processes and of files, nor what the kernel remembers of files."""
    kilobytes = kilobytes_of_machine()
    others = ("MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "SReclaimable")
    return (kilobytes["MemTotal"] - sum(map(kilobytes.get, others))) << 10


def shared():
    """Bytes of memory that processes share, and of files that lie in memory."""
    return kilobytes_of_machine()["Shmem"] << 10


async def taken_by(sandbox, program, held=held_by_kernel):
    """How much more was held at the worst moment, and the command."""
    before = most = held()
    running = asyncio.ensure_future(sandbox.run("python3 -", stdin=(HOLD + program).encode(), timeout=30))
    while not running.done():
        await asyncio.sleep(0.05)
        most = max(most, held())
    return most - before, running


@pytest.mark.parametrize("kind", ATTACKS)
def test_memory_that_the_kernel_holds_for_a_sandbox(attack, kind):  # noqa: F811
    async def scenario(sandbox):
        is_spared = not os.geteuid() and score_of(sandbox) == "-1000\n"
        taken, running = await taken_by(sandbox, ATTACKS[kind])
        try:
            output = (await running).output
            assert (await sandbox.run("echo on", timeout=200)).output.endswith(b"on\n")
        except SandboxLimitExceeded:  # of all that could be killed, its supervisor was the last
            assert not is_spared
            output = b""
        return taken, output

    taken, output = attack(scenario, LIMITS)
    assert taken < MEMORY + SLACK
    assert b"SURVIVED" not in output


needs_groups = pytest.mark.skipif(find_place() is None, reason="needs memory cgroups")


def in_group(scenario, limits=LIMITS):
    """`scenario(sandbox)` by this user, in a sandbox whose memory the kernel counts."""

    async def whole():
        sandbox = BubblewrapSandbox(limits)
        await sandbox.start()
        try:
            assert sandbox._group is not None
            return await asyncio.wait_for(scenario(sandbox), 200)
        finally:
            await sandbox.stop()

    return asyncio.run(whole())


@needs_groups
def test_memory_that_is_no_process_s_any_more():
    async def scenario(sandbox):
        taken, running = await taken_by(sandbox, UNMAPPED, shared)
        return taken, await running

    taken, result = in_group(scenario)
    assert taken < MEMORY + SLACK
    assert b"SURVIVED" not in result.output
    assert b"[killed: more than the sandbox allows (memory_bytes = 100663296)]" in result.output


@needs_groups
def test_what_the_kernel_kills_in_a_terminal_leaves_the_shell_alive_and_is_told():
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await sandbox.write_file("/tmp/attack.py", (HOLD + UNMAPPED).encode())
        await terminal.write(b"python3 /tmp/attack.py; echo AL''IVE $?\n")
        output = b""
        while b"ALIVE" not in output:
            output += await terminal.read()
        return output

    output = in_group(scenario)
    assert b"ALIVE 137" in output
    assert b"[killed: more than the sandbox allows (memory_bytes = 100663296)]" in output


@needs_groups
def test_a_sandbox_s_group_is_gone_after_it_and_one_of_a_killed_process_is_removed_by_the_next():
    group = in_group(lambda sandbox: asyncio.sleep(0, sandbox._group))
    deadline = time.monotonic() + 60
    while os.path.exists(group.directory):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    place = find_place()
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, living = (f"{place.directory}/{PREFIX}{pid}-test" for pid in (gone.pid, os.getpid()))
    os.mkdir(left)
    os.mkdir(living)
    try:
        remove_stale(place)
        assert not os.path.exists(left)
        assert os.path.exists(living)
    finally:
        os.rmdir(living)


VERSION_2 = "/sys/fs/cgroup/unified"
FIND = """
import sys
from turnmix.sandboxes import memory_place
memory_place.CONTROLLER = sys.argv[1]
with open("/proc/self/cgroup") as file:
    group = file.read().rpartition("0::")[2].strip()
print(memory_place._version_2(group).directory)
"""


@pytest.mark.skipif(
    not os.access(f"{VERSION_2}/cgroup.subtree_control", os.W_OK), reason="needs cgroup2 beside v1"
)
@pytest.mark.parametrize("is_left_to_its_user", [True, False])
def test_a_group_of_version_2_that_is_left_to_its_user_is_divided(is_left_to_its_user):
    """With whatever controller is not version 1's here."""
    controllers = Path(f"{VERSION_2}/cgroup.controllers").read_text().split()
    if not controllers:
        pytest.skip("version 1 has all controllers")
    group = f"{VERSION_2}/turnmix.test-{os.getpid()}"
    before = Path(f"{VERSION_2}/cgroup.subtree_control").read_text().split()
    Path(f"{VERSION_2}/cgroup.subtree_control").write_text(f"+{controllers[0]}")
    os.mkdir(group)
    try:
        if is_left_to_its_user:
            os.setxattr(group, "user.delegate", b"1")
        find = [sys.executable, "-c", FIND, controllers[0]]
        enter = f"echo $$ > {group}/cgroup.procs; exec {shlex.join(find)}"
        result = subprocess.run(["sh", "-c", enter], capture_output=True, text=True)
        assert result.stdout == (f"{group}\n" if is_left_to_its_user else ""), result.stderr
    finally:
        for name in (f"{group}/turnmix.main", group):
            if os.path.exists(name):
                os.rmdir(name)
        if controllers[0] not in before:
            Path(f"{VERSION_2}/cgroup.subtree_control").write_text(f"-{controllers[0]}")
