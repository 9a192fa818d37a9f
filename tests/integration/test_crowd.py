"""Sixty-four sandboxes, one of them an attacker: the other sixty-three end as without it.

As root, each runs twice: once as root, and once as an ordinary user.
"""

import asyncio
import os

import pytest
from sandbox_scenarios import read_until
from test_memory_attacks import HOLD, NETLINK, PAGE_TABLES, PIPES, SOCKETS, TCP
from test_sandbox_attacks import FORK_BOMB, MISSING, NOBODY, in_own_process

from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.sandbox import Limits, SandboxEnded
from turnmix.sandboxes.supervisor_code import find_interpreter, opening_message

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

CROWD = 64
LIMITS = Limits(memory_bytes=96 << 20, disk_bytes=16 << 20, wall_seconds=1200)
WORK = """
import ctypes, os, signal, socket, subprocess
one, other = socket.socketpair()
one.sendall(b"x" * 50_000)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
terminal = os.openpty()
watch = ctypes.CDLL(None).inotify_init()
block = bytearray(8 << 20)
with open("file", "w") as file:
    file.write("y" * 100_000)
told = subprocess.run(["wc", "-c", "file"], capture_output=True, text=True, check=True).stdout
print(len(other.recv(60_000)), client.fileno() > 0, os.ttyname(terminal[1])[:9], watch > 0, told.strip(), len(block))
"""
RESULT = b"50000 True /dev/pts/ True 100000 file 8388608\n"
TAKE = """
import ctypes, os, time
libc = ctypes.CDLL(None)
for _ in range(20):
    if os.fork() == 0:
        held = []
        try:
            while True:
                held.append(%s)
        except Exception:
            pass
        time.sleep(3)
        os._exit(0)
time.sleep(3)
"""
TAKING = """
def taken(result):
    if result < 0:
        raise OSError
    return result
"""
SPARED = """
import os
for pid in ("self", str(os.getppid()), "1"):
    for name, value in (("oom_score_adj", "-1000"), ("oom_score_adj", "0"), ("oom_adj", "-17")):
        try:
            open(f"/proc/{pid}/{name}", "w").write(value)
        except OSError:
            pass
for _ in range(8):
    if os.fork() == 0:
        held = []
        while True:
            held.append(bytearray(1 << 20))
            held[-1][::4096] = b"x" * 256
os.wait()
"""
ENDING = """
import os, signal
for number in range(1, 65):
    try:
        os.kill(1, number)
    except OSError:
        pass
os.kill(-1, signal.SIGKILL)
"""
ATTACKS = {
    "unix sockets": HOLD + SOCKETS.format(family="AF_UNIX"),
    "page tables": HOLD + PAGE_TABLES,
    "pipes": HOLD + PIPES,
    "netlink": HOLD + NETLINK,
    "tcp": HOLD + TCP,
    "terminals": TAKE % "os.openpty()",
    "watches": TAKING + TAKE % "taken(libc.inotify_init())",
    "signals": TAKING + TAKE % "taken(-libc.timer_create(1, None, ctypes.byref(ctypes.c_void_p())))",
    "descriptors": TAKE % "os.open('/dev/null', os.O_RDONLY)",
    "files": TAKE % "open(f'/tmp/{os.getpid()}-{len(held)}', 'w').close()",
    "memory": SPARED,
    "processes": FORK_BOMB,
    "signals to all": ENDING,
}


async def started():
    sandbox = BubblewrapSandbox(LIMITS)
    await sandbox.start()
    return sandbox


async def attacked(program):
    sandbox = await started()
    try:
        return await sandbox.run("python3 -", stdin=program.encode(), timeout=4)
    except SandboxEnded as ended:  # its own doing, and its own end
        return ended
    finally:
        await sandbox.stop()


async def crowd(rounds, share=1):
    """The innocent beside each round's attackers, which come to sixty-four together. In each round one in `share` of
    them works, in turn; who attacked in one round may still be at it in the next."""
    innocent = await asyncio.gather(*(started() for _ in range(CROWD - max(map(len, rounds)))))
    try:
        attackers = []
        for number, attacks in enumerate(rounds):
            attackers += [asyncio.ensure_future(attacked(ATTACKS[attack])) for attack in attacks]
            await asyncio.sleep(0.8)
            work = [
                sandbox.run("python3 -", working_directory="/testbed", stdin=WORK.encode(), timeout=600)
                for sandbox in innocent[number % share :: share]
            ]
            wrong = [result for result in await asyncio.gather(*work) if result.output != RESULT]
            assert not wrong, (attacks, len(wrong), wrong[0])
        await asyncio.gather(*attackers)
        terminal = await innocent[0].open_terminal(working_directory="/")
        await terminal.write(b"echo o''n\n")
        assert await read_until(terminal, b"on\n") == b"on\n"
    finally:
        await asyncio.gather(*(sandbox.stop() for sandbox in innocent))


@pytest.mark.parametrize("user", [None, NOBODY] if os.geteuid() == 0 else [None])
def test_a_crowd_works_on_beside_attackers_of_all_kinds_at_once(user):
    opening_message(find_interpreter(), {})
    in_own_process(lambda: asyncio.run(crowd([list(ATTACKS)])), user)


@pytest.mark.skipif(not os.environ.get("TURNMIX_LONG_TESTS"), reason="TURNMIX_LONG_TESTS is not set")
@pytest.mark.parametrize("user", [None, NOBODY] if os.geteuid() == 0 else [None])
def test_sixty_three_sandboxes_work_on_beside_an_attacker_of_each_kind(user):
    opening_message(find_interpreter(), {})
    in_own_process(lambda: asyncio.run(crowd([[attack] for attack in ATTACKS], share=6)), user)
