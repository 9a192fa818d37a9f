"""Sixty-four containers at once, among them one attacker of each kind: the others work on as without them."""

import asyncio
import contextlib

from container_runtime import make_container, needs_containers
from long_tests import takes_minutes
from sandbox_scenarios import read_until
from test_container_attacks import HOLD_TERMINALS, OVERWRITE, READ_ITS_LINES, TYPE_TO_IT, python

from turnmix.core.errors import SandboxError
from turnmix.sandboxes.sandbox import Limits, SandboxEnded

pytestmark = needs_containers
LIMITS = Limits(
    memory_bytes=192 << 20, processes=60, file_bytes=64 << 20, disk_bytes=128 << 20, wall_seconds=900
)
ROUNDS = 3
HIDE = "open('/proc/self/oom_score_adj', 'w').write('500')"
ATTACKS = {
    "overwrite process 1": OVERWRITE,
    "type to process 1": TYPE_TO_IT,
    "read what is meant for process 1": READ_ITS_LINES + "; sleep 5",
    "kill all": "kill -9 -1",
    "fork without end": python("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"),
    "fill memory": python(f"{HIDE}\nx = []\nwhile True: x.append(b'x' * (1 << 20))"),
    "fill the buffers of sockets": python(f"""
import os, socket, time
{HIDE}
for _ in range(4):
    if os.fork() == 0:
        pairs = []
        while True:
            try:
                pairs.append(socket.socketpair())
                for end in pairs[-1]:
                    end.setblocking(False)
                    while end.send(b"x" * 65536): pass
            except BlockingIOError:
                pass
            except OSError:
                time.sleep(10)
time.sleep(10)
"""),
    "fill page tables": python("""
import ctypes, mmap
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
for _ in range(256):
    start = libc.mmap(None, 1 << 30, 1, 0x4022, -1, 0)
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(1 << 30), 15)
    for offset in range(0, 1 << 30, 1 << 21):
        ctypes.c_byte.from_address(start + offset).value
"""),
    "hold terminals": HOLD_TERMINALS,
    "fill the disk": "for n in $(seq 400); do head -c 8000000 /dev/zero > /fill$n || break; done; sleep 15",
    "print without end": "yes & yes > /proc/1/fd/1 & yes > /proc/1/fd/2 & sleep 15",
}


async def attack(sandbox, command):
    """Whatever the attacker comes to, it is no infrastructure error."""
    terminal = await sandbox.open_terminal(working_directory="/")
    with contextlib.suppress(SandboxEnded):
        await terminal.write(b"yes\n" if "yes" in command else b"sleep 30\n")
        for _ in range(2):
            await sandbox.run(command, timeout=8)


async def work(sandbox, number):
    """All that one sandbox is used for, again and again."""
    seen = []
    for turn in range(ROUNDS):
        seen.append((await sandbox.run(f"echo {number} {turn}; exit 3", timeout=120)).exit_code)
        await sandbox.write_file("/testbed/file", b"%d %d" % (number, turn))
        seen.append(await sandbox.read_file("/testbed/file"))
        terminal = await sandbox.open_terminal(working_directory="/testbed")
        await terminal.write(b"[ -t 0 ] && cat file; echo :E''ND\n")
        seen.append(await asyncio.wait_for(read_until(terminal, b":END\n"), 120))
        await terminal.close()
        await asyncio.sleep(2)
    return seen


@takes_minutes
def test_one_attacker_of_each_kind_among_sixty_four_disturbs_no_other():
    attacks = list(ATTACKS.values())

    async def one(number, has_begun, all_there):
        sandbox = make_container(LIMITS)
        try:
            await sandbox.start()
            has_begun.release()
            await all_there.wait()
            if number < len(attacks):
                return await attack(sandbox, attacks[number])
            return await work(sandbox, number)
        finally:
            with contextlib.suppress(SandboxError):
                await sandbox.stop()

    async def all_of_them():
        has_begun, all_there = asyncio.Semaphore(0), asyncio.Event()
        tasks = [asyncio.ensure_future(one(number, has_begun, all_there)) for number in range(64)]
        for _ in tasks:
            await has_begun.acquire()
        all_there.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(asyncio.wait_for(all_of_them(), 900))
    assert dict(zip(ATTACKS, outcomes)) == dict.fromkeys(ATTACKS)
    for number, seen in enumerate(outcomes[len(attacks) :], len(attacks)):
        expected = []
        for turn in range(ROUNDS):
            content = b"%d %d" % (number, turn)
            expected += [3, content, content + b":END\n"]
        assert seen == expected, (number, seen)
