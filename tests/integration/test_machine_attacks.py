"""Attacks on what the machine, or a user, has once for all sandboxes: each gets a small part of it.

As root, each runs twice: once as root, and once as an ordinary user.
"""

import os
import platform
import re
from pathlib import Path

import pytest
from test_sandbox_attacks import MISSING, attack, python  # noqa: F401 (attack: a fixture)

from turnmix.sandboxes.seccomp import ADDRESS_FAMILIES, PRIVILEGED, UNCOUNTED, UNNEEDED

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
needs_numbers = pytest.mark.skipif(platform.machine() != "x86_64", reason="names the calls of x86_64")


def score_of(sandbox):
    """How soon the kernel kills a sandbox's supervisor."""
    about = Path(f"/proc/self/fdinfo/{sandbox._supervisor}").read_text()
    pid = re.search(r"Pid:\t(\d+)", about)[1]
    return Path(f"/proc/{pid}/oom_score_adj").read_text()


def test_taking_all_terminals(attack):  # noqa: F811
    program = """
import os
counts = []
until_over, over = os.pipe()
for _ in range(6):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(over)
        held = []
        try:
            while len(held) < 900:
                held.append(os.openpty())
        except OSError:
            pass
        os.write(writer, b"%d" % len(held))
        os.read(until_over, 1)
        os._exit(0)
    os.close(writer)
    counts.append(int(os.read(reader, 10)))
print("HELD", sum(counts), flush=True)
"""
    held = int(re.search(rb"HELD (\d+)", python(attack, program).output)[1])
    assert 16 <= held <= 32  # some, as tests of terminals need them


def test_being_spared_when_memory_is_short(attack):  # noqa: F811
    program = """
import os
def score(pid="self"):
    with open(f"/proc/{pid}/oom_score_adj") as file:
        return int(file.read())
assert score() == 1000
for name, value in (("oom_score_adj", "0"), ("oom_score_adj", "999"), ("oom_score_adj", "-1000"), ("oom_adj", "0")):
    for pid in ("self", "thread-self", str(os.getpid()), str(os.getppid()), "1"):
        try:
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(value)
            print("WROTE", pid, name, value)
        except OSError:
            pass
if os.fork() == 0:
    print("SCORE", score(), flush=True)
    os._exit(0)
os.wait()
"""

    async def scenario(sandbox):
        before = score_of(sandbox)
        result = await sandbox.run("python3 -", stdin=program.encode())
        assert score_of(sandbox) == before
        assert int(before) <= int(own_score)
        return result

    own_score = Path("/proc/self/oom_score_adj").read_text()
    result = attack(scenario)
    assert (result.exit_code, result.output) == (0, b"SCORE 1000\n")


def test_sockets_of_other_families(attack):  # noqa: F811
    program = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = [ctypes.c_long] * 6
call, pair = {"x86_64": (41, 53), "aarch64": (198, 199)}[os.uname().machine]
room = ctypes.create_string_buffer(8)
opened = set()
for family in range(64):
    for high in (0, 1 << 32, 1 << 63):
        for kind in (1, 2, 3, 5):
            if libc.syscall(call, ctypes.c_long(family | high).value, kind, 0, 0, 0) >= 0:
                opened.add(family)
            if libc.syscall(pair, ctypes.c_long(family | high).value, kind, 0, ctypes.addressof(room), 0) >= 0:
                opened.add(family)
try:
    socket.socket(socket.AF_VSOCK)
except OSError as error:
    print(error.strerror)
print(sorted(opened))
"""
    families = sorted(ADDRESS_FAMILIES.values())
    assert python(attack, program).output.decode() == (
        f"Address family not supported by protocol\n{families}\n"
    )


@needs_numbers
def test_calls_that_nothing_inside_needs(attack):  # noqa: F811
    numbers = {
        name: number
        for calls in (UNCOUNTED, UNNEEDED, PRIVILEGED)
        for name, (number, _) in calls.items()
        if number is not None
    }
    program = f"""
import ctypes, errno, fcntl, os, pty, termios
libc = ctypes.CDLL(None, use_errno=True)
def tell(what, result):
    if result >= 0 or ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM, errno.ENOMEM):
        print("PASSED", what, ctypes.get_errno())
for name, number in {numbers!r}.items():
    tell(name, libc.syscall(number, 0, 0, 0, 0, 0))
for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
    pid = libc.syscall(56, flag | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    tell(hex(flag), pid)
libc.syscall.argtypes = [ctypes.c_long] * 7
tell("huge pages", libc.syscall(9, 0, 2 << 20, 3, 0x40022, -1, 0))
tell("pipe", libc.fcntl(os.pipe()[0], 1031, 1 << 20))
terminal = os.openpty()[1]
for request in (0x5412, 0x541C, 0x5423):
    tell(hex(request), libc.ioctl(terminal, request, ctypes.create_string_buffer(8)))
"""
    assert python(attack, program).output == b""


def test_taking_all_watches_of_files_and_all_signals_that_may_wait(attack):  # noqa: F811
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
watches = 0
for watched in range(1000):
    if libc.inotify_init() < 0:
        break
total = 0
until_over, over = os.pipe()
for _ in range(3):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(over)
        signals, timer = 0, ctypes.c_void_p()
        while signals < 5000 and libc.timer_create(1, None, ctypes.byref(timer)) == 0:
            signals += 1
        os.write(writer, b"%d" % signals)
        os.read(until_over, 1)
        os._exit(0)
    total += int(os.read(reader, 10))
print(watched, total)
"""
    watched, signals = map(int, python(attack, program).output.split())
    assert 2 <= watched <= 16
    assert 100 <= signals <= 1024


def test_a_crash_starts_no_program_of_the_host(attack):  # noqa: F811
    """A handler of core dumps is started where the limit is 0 as well, and not where it is 1."""
    program = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    assert python(attack, program).output == b"(1, 1)\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="raises this process's own score, as a session may")
def test_what_may_not_be_spared_itself_still_raises_its_sandboxes(attack):  # noqa: F811
    async def scenario(sandbox):
        return await sandbox.run("cat /proc/self/oom_score_adj")

    own = Path("/proc/self/oom_score_adj")
    before = own.read_text()
    own.write_text("300")
    try:
        assert attack(scenario).output == b"1000\n"
    finally:
        own.write_text(before)
