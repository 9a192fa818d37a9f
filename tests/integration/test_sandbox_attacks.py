"""Attacks from inside a sandbox. Each asserts that it failed, the host is untouched, and work goes on.

As root, each runs twice: once as root, where sandboxes get a user of their own, and once as an ordinary user.
"""

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import subprocess
import threading
import time
import traceback
from pathlib import Path

import pytest
from sandbox_scenarios import few_processes, read_until, run_past_its_time

from turnmix.core.errors import MissingDependencyError
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.sandbox import Limits, SandboxLimitExceeded
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.sandboxes.supervisor_code import find_interpreter, opening_message

try:
    BubblewrapSettings().check()
    MISSING = ""
except MissingDependencyError as error:
    MISSING = str(error)
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

NOBODY = 65534
SMALL = Limits(
    memory_bytes=192 << 20, processes=24, file_bytes=8 << 20, disk_bytes=32 << 20, wall_seconds=600
)
FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


@pytest.fixture(params=["root", "ordinary user"] if os.geteuid() == 0 else ["ordinary user"])
def attack(request):
    """Calls `scenario(sandbox)` in a process of its own, by the user of this parameter."""
    opening_message(find_interpreter(), {})  # read while the sources can be read

    def call(scenario, limits=SMALL):
        async def whole():
            sandbox = BubblewrapSandbox(limits)
            await sandbox.start()
            try:
                return await asyncio.wait_for(scenario(sandbox), 300)
            finally:
                await sandbox.stop()

        user = NOBODY if request.param == "ordinary user" and os.geteuid() == 0 else None
        return in_own_process(lambda: asyncio.run(whole()), user)

    return call


def in_own_process(function, user):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            answer = ("result", function())
        except BaseException:
            answer = ("failure", traceback.format_exc())
        os.write(writer, pickle.dumps(answer))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    kind, value = pickle.loads(data)
    if kind == "failure":
        pytest.fail(value)
    return value


def shell(attack, command, limits=SMALL, **options):
    """The result of an attack that is one command; the sandbox must still work after it."""

    async def scenario(sandbox):
        result = await sandbox.run(command, **options)
        assert (await sandbox.run("echo still here", timeout=200)).output == b"still here\n"
        return result

    return attack(scenario, limits)


def python(attack, program, limits=SMALL, **options):
    return shell(attack, "python3 -", limits, stdin=program.encode(), **options)


def processes_with(token):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if token.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def wait_for_processes(token, number):
    deadline = time.monotonic() + 60
    while len(found := processes_with(token)) < number:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def users_of(pid):
    return Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].splitlines()[0].split()


def assert_gone(token):
    deadline = time.monotonic() + 60
    while processes_with(token) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert processes_with(token) == []


@pytest.fixture
def secret(tmp_path):
    """A file of the host that everybody may read and write, as far as permissions go."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o777)
    path = tmp_path / "secret"
    path.write_text("host secret")
    path.chmod(0o666)
    return path


def test_writing_host_files(attack, secret):
    before = os.stat("/usr/bin").st_mtime_ns
    command = f"""
        echo owned > {secret}; mkdir -p {secret.parent} && echo owned > {secret}
        for path in /etc/passwd /etc/new /usr/new /usr/bin/new /bin/sh /new /dev/new; do
            (echo owned >> $path) 2>/dev/null && echo wrote $path
        done
        rm -rf /usr/bin 2>/dev/null; mv /usr/bin /tmp 2>/dev/null && echo moved"""
    result = shell(attack, command)
    assert b"wrote" not in result.output
    assert b"moved" not in result.output
    assert secret.read_text() == "host secret"
    assert os.stat("/usr/bin").st_mtime_ns == before


def test_reading_host_files(attack, secret):
    home = os.path.expanduser("~")
    command = f"""
        cat {secret} /etc/shadow /etc/ssh/* /proc/*/environ /proc/*/root{secret} /proc/*/cwd{secret}
        cat ../../../../../../..{secret}; ls -a {home} /root /var /run /opt /srv /mnt /media /sys /boot; mount
        ls /proc/1/root/ /proc/1/map_files /proc/1/cwd"""
    os.environ["TURNMIX_TEST_SECRET"] = "host secret"
    try:
        output = shell(attack, command).output
    finally:
        del os.environ["TURNMIX_TEST_SECRET"]
    assert b"host secret" not in output
    assert b"root:$" not in output
    assert b".bash" not in output
    assert str(secret.parent.parent).encode() not in output.replace(str(secret).encode(), b"")


def test_links_that_lead_out_through_the_file_access_of_the_host(attack, secret):
    async def scenario(sandbox):
        await sandbox.run(
            f"ln -s {secret} file; ln -s / root; ln -s /etc/shadow shadow; ln -s /proc/self/mem mem;"
            "ln -s loop loop; ln -s /proc/1/fd/0 line; mkfifo pipe; ln -s /proc/self/environ environ",
            working_directory="/testbed",
        )
        for name in (
            "file",
            f"root{secret}",
            "shadow",
            "line",
            "pipe",
            "mem",
            "loop",
            "../../../.." + str(secret),
        ):
            with pytest.raises(OSError):
                await sandbox.read_file(f"/testbed/{name}")
        for name in ("file", f"root{secret}", "shadow", "line", "pipe", "mem", "loop"):
            with contextlib.suppress(OSError):
                await sandbox.write_file(f"/testbed/{name}", b"owned")
        with contextlib.suppress(OSError):
            assert b"PYTEST" not in await sandbox.read_file("/testbed/environ")
        assert (await sandbox.run("echo on")).output == b"on\n"

    attack(scenario)
    assert secret.read_text() == "host secret"


def test_the_network(attack):
    place = f"127.{os.getpid() % 256}.77.{os.urandom(1)[0]}"  # where nobody else on this machine looks for anything
    server = socket.create_server((place, 0))
    abstract = socket.socket(socket.AF_UNIX)
    name = f"turnmix-{os.urandom(8).hex()}"
    abstract.bind(f"\0{name}")
    abstract.listen()
    visitors = []

    def serve(listening):
        with contextlib.suppress(OSError):
            visitors.append(listening.accept())

    for listening in (server, abstract):
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
    program = f"""
import socket
for family, address in [
    (socket.AF_INET, {server.getsockname()!r}),
    (socket.AF_INET, ("1.1.1.1", 53)),
    (socket.AF_INET, ("169.254.169.254", 80)),
    (socket.AF_INET6, ("2606:4700:4700::1111", 53)),
    (socket.AF_UNIX, "\\0{name}"),
]:
    try:
        connection = socket.socket(family)
        connection.settimeout(2)
        connection.connect(address)
        print("REACHED", address)
    except OSError as error:
        print(error)
try:
    print("REACHED", socket.getaddrinfo("deb.debian.org", 80))
except OSError as error:
    print(error)
try:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    print("REACHED raw")
except OSError as error:
    print(error)
"""
    output = python(attack, program).output
    assert b"REACHED" not in output
    assert output.count(b"\n") == 7
    assert visitors == []
    server.close()
    abstract.close()


def test_seeing_and_killing_host_processes(attack):
    victim = subprocess.Popen(["sleep", "987"])
    try:
        command = f"""
            cat /proc/[0-9]*/cmdline | tr '\\0' ' '
            kill -9 {victim.pid} {os.getpid()} && echo KIL'LED'
            for pid in $(seq 2 400); do [ $pid != $$ ] && kill -9 $pid 2>/dev/null; done
            kill -9 -1"""
        result = shell(attack, command)
        assert b"sleep 987" not in result.output
        assert b"pytest" not in result.output
        assert b"KILLED" not in result.output
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_killing_stopping_and_starving_the_supervisor(attack):
    command = """
        for name in KILL STOP TERM INT HUP QUIT SEGV ABRT XCPU TSTP PIPE USR1 ALRM CHLD; do
            kill -$name 1
        done
        prlimit --pid 1 --cpu=1 && echo LIMITED
        prlimit --pid 1 --nofile=1 && echo LIMITED
        taskset -p 1 1 && echo LIMITED
        chrt --idle -p 0 1 && echo LIMITED
        renice -n 19 -p 1 && echo LIMITED
        echo 1000 > /proc/1/oom_score_adj && echo LIMITED; true"""
    assert b"LIMITED" not in shell(attack, command).output


def test_tracing_the_supervisor_and_reading_its_memory(attack):
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for request in (16, 0x4206):  # attach, seize
    if libc.ptrace(request, 1, 0, 0) == 0:
        print("TRACED")
for path in ("mem", "maps", "environ", "fd/0", "fd/1", "fdinfo/0", "stack", "syscall", "exe", "task/1/mem"):
    for mode in ("rb", "r+b"):
        try:
            open("/proc/1/" + path, mode)
            print("OPENED", path)
        except OSError:
            pass
pidfd = os.pidfd_open(1)
for number in range(8):
    if libc.syscall(438, pidfd, number, 0) >= 0:  # pidfd_getfd
        print("TAKEN", number)
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
if libc.process_vm_readv(1, vector, 1, vector, 1, 0) > 0:
    print("READ")
"""
    assert python(attack, program).output == b""


def test_forging_frames_of_the_protocol(attack):
    program = """
import os, struct
frame = struct.pack(">IcI", 1, b"x", 4) + struct.pack(">i", 0)
frame += struct.pack(">IcI", 0, b"l", 12) + b"memory_bytes"
for descriptor in range(3, 256):
    try:
        os.write(descriptor, frame)
        print("INHERITED", descriptor)
    except OSError:
        pass
for path in ["/proc/1/fd/0", "/proc/1/fd/1", "/proc/1/fd/2", "/proc/1/fd/3", "/proc/1/fd/4", "/dev/stdin"]:
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(frame)
    except OSError:
        pass
import sys
sys.stdout.buffer.write(frame)
sys.exit(5)
"""
    result = python(attack, program)
    assert b"INHERITED" not in result.output
    assert result.exit_code == 5


def test_a_fork_bomb_in_a_command(attack):
    async def scenario(sandbox):
        result = await sandbox.run("python3 -", stdin=FORK_BOMB.encode(), timeout=120)
        assert result.exit_code == 128 + signal.SIGKILL
        assert b"more than the sandbox allows (processes = 24)" in result.output
        await few_processes(sandbox, 24)

    attack(scenario)


def test_a_fork_bomb_in_a_terminal_leaves_the_shell_alive(attack):
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b":(){ :|:& };:\n")
        await asyncio.sleep(1.5)
        output = b""
        await terminal.write(b"\x03")
        deadline = time.monotonic() + 60
        while b"ALIVE" not in output and time.monotonic() < deadline:
            await terminal.write(b"echo AL''IVE\n")
            with contextlib.suppress(asyncio.TimeoutError):
                output += await asyncio.wait_for(terminal.read(), 1)
        assert b"ALIVE" in output
        assert (await sandbox.run("echo on", timeout=200)).output == b"on\n"

    attack(scenario)


def test_a_fork_bomb_whose_children_leave_every_session(attack):
    async def scenario(sandbox):
        program = FORK_BOMB.replace("os.fork()", "os.fork() or os.setsid()")
        await sandbox.run("python3 -", stdin=program.encode(), timeout=2)
        assert (await sandbox.run("echo on", timeout=200)).output.endswith(b"on\n")

    attack(scenario)


def test_filling_memory_in_one_process(attack):
    result = shell(attack, "python3 -c 'x = bytearray(10**12)' || python3 -c 'x = [0]\nwhile True: x *= 2'")
    assert result.exit_code not in (0, None)


def test_filling_memory_in_many_processes(attack):
    program = """
import mmap, os
until_over, over = os.pipe()
for _ in range(6):
    if os.fork() == 0:
        os.close(over)
        block = mmap.mmap(-1, 64 << 20)  # shared: no limit of one process counts it
        for start in range(0, len(block), 4096):
            block[start] = 1
        os.read(until_over, 1)
        os._exit(0)
for number in range(6):
    if number == 3:
        os.close(over)
    print(os.wait()[1], flush=True)
"""
    result = python(attack, program, timeout=120)
    killed = result.output.split().count(b"9")
    assert b"memory_bytes = 201326592" in result.output
    assert killed >= 3 or result.exit_code == 137


def test_memory_that_belongs_to_no_process(attack):
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
try:
    os.memfd_create("x")
    print("MADE memfd")
except OSError as error:
    print(error)
if libc.shmget(0, 1 << 30, 0o1600) >= 0:
    print("MADE shared memory")
"""
    assert b"MADE" not in python(attack, program).output


def test_filling_the_disk(attack):
    command = """
        for number in $(seq 40); do head -c 4000000 /dev/zero > /tmp/$number; done 2>/dev/null
        for number in $(seq 40); do head -c 4000000 /dev/zero > /dev/shm/$number; done 2>/dev/null
        for number in $(seq 40); do head -c 4000000 /dev/zero > ~/$number; done 2>/dev/null
        du -scm /tmp /dev/shm ~ /testbed | tail -1; rm -rf /tmp/* /dev/shm/* ~/*"""
    assert 20 <= int(shell(attack, command).output.split()[0]) <= 32


def test_a_million_empty_files_end_the_sandbox_and_are_no_infrastructure_failure(attack):
    async def scenario(sandbox):
        program = b"import itertools\nfor n in itertools.count(): open(f'/tmp/{n}', 'w').close()\n"
        with pytest.raises(SandboxLimitExceeded) as caught:
            await sandbox.run("python3 -", stdin=program, timeout=250)
        assert caught.value.limit == "disk_bytes"

    attack(scenario)


def test_files_of_a_process_that_has_slept_for_long_are_counted(attack):
    """It starts no other process, and nothing has run for a while when it begins."""

    async def scenario(sandbox):
        make = "import time; time.sleep(1.5); [open(f'/tmp/{n}', 'w').close() for n in range(60000)]; time.sleep(60)"
        with pytest.raises(SandboxLimitExceeded, match="disk_bytes"):
            await sandbox.run(f'python3 -c "{make}"', timeout=250)

    attack(scenario)


def test_one_giant_file(attack):
    result = shell(
        attack, "head -c 9000000 /dev/zero > /tmp/giant; stat -c %s /tmp/giant; truncate -s 1T /tmp/sparse"
    )
    assert b"8388608\n" in result.output
    assert result.exit_code != 0


def test_a_flood_of_output_does_not_fill_the_memory_of_the_host(attack):
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b"yes\n")
        await read_until(terminal, b"y\n")
        result, _ = await run_past_its_time(sandbox, "yes", num_bytes=100_000, output_limit=100_000)
        assert len(result.output) == 100_000
        return resident_kilobytes()

    def resident_kilobytes():
        return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

    before = resident_kilobytes()
    assert attack(scenario) < before + 60_000


@pytest.mark.parametrize(
    "command",
    [
        "nohup sleep {token} &",
        "setsid sleep {token} &",
        "(setsid setsid sleep {token} &) &",
        "python3 -c 'import os\nif os.fork() == 0:\n os.setsid()\n"
        ' if os.fork() == 0: os.execvpe("sleep", ["sleep", "{token}"], {{}})\' &',
        "sh -c 'trap \"\" TERM INT HUP QUIT; sleep {token}; sleep {token}' &",
        "at now + 1 minute </dev/null; echo '* * * * * sleep {token}' | crontab - ; sleep {token} & disown",
    ],
)
def test_outliving_the_sandbox(attack, command):
    token = str(10_000_000 + int.from_bytes(os.urandom(3), "big"))

    async def scenario(sandbox):
        await sandbox.run(command.format(token=token) + "\nsleep 0.1")
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(command.format(token=token).encode() + b"\n")
        wait_for_processes(token, 1)

    attack(scenario)
    assert processes_with(token) == []


@pytest.mark.parametrize("user", [None, NOBODY] if os.geteuid() == 0 else [None])
def test_outliving_a_sigkill_of_our_process(user):
    opening_message(find_interpreter(), {})
    token = str(10_000_000 + int.from_bytes(os.urandom(3), "big"))

    async def work():
        sandbox = BubblewrapSandbox(SMALL)
        await sandbox.start()
        # Stopped, a process dies of nothing but SIGKILL.
        await sandbox.run(f"(setsid sleep {token} &); sleep {token} & kill -STOP $!; sleep 0.1")
        await sandbox.run(f"trap '' HUP TERM INT; sleep {token}")

    child = os.fork()
    if child == 0:
        try:
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            asyncio.run(work())
        finally:
            os._exit(1)
    wait_for_processes(token, 3)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert_gone(token)


def test_typing_into_the_terminal_of_the_host(attack):
    program = """
import fcntl, os, termios
for path in ["/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/pts/0", "/dev/ttyS0"]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        continue
    try:
        fcntl.ioctl(descriptor, termios.TIOCSTI, b"x")
        print("TYPED", path)
    except OSError:
        pass
"""
    result = python(attack, program)
    assert (result.exit_code, result.output) == (0, b"")


def test_mounting_and_new_namespaces(attack):
    command = """
        mount -t tmpfs none /tmp && echo ESCAPED
        mount -o remount,rw /usr && echo ESCAPED
        umount /proc && echo ESCAPED
        umount -l /usr && echo ESCAPED
        for flags in -Ur -Urm -m -p -n -i -u -C; do unshare $flags true && echo ESCAPED; done
        nsenter -t 1 -a true && echo ESCAPED
        chroot /testbed true && echo ESCAPED
        mknod /tmp/disk b 8 0 && echo ESCAPED
        pivot_root / /tmp && echo ESCAPED
        hostname owned && echo ESCAPED
        date -s 2001-01-01 && echo ESCAPED
        capsh --print | grep 'Current: =.*ep' && echo ESCAPED
        true"""
    assert b"ESCAPED" not in shell(attack, command).output


def test_writing_kernel_settings(attack):
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    command = """
        for path in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches \
                /proc/sys/user/max_user_namespaces /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger \
                /proc/sys/kernel/ns_last_pid /proc/1/oom_score_adj /proc/self/uid_map /proc/kcore; do
            (echo 1 > $path) 2>/dev/null && echo WROTE $path
        done
        head -c 10 /proc/kcore /proc/kmsg /dev/mem /dev/kmsg 2>/dev/null && echo READ
        dmesg > /dev/null && echo READ
        ls /sys/fs/cgroup && echo READ; true"""
    output = shell(attack, command).output
    assert b"WROTE" not in output
    assert b"READ" not in output
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_becoming_root_by_setuid_programs(attack):
    command = """
        for program in su mount passwd sudo newgrp chsh; do
            echo | $program -c id 2>&1 | grep -E '(uid|euid)=0' && echo ROOT
        done
        cp /usr/bin/id /tmp/id && chmod 6777 /tmp/id && /tmp/id
        python3 -c 'import os; os.setuid(0)' 2>/dev/null && echo ROOT
        grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status; grep NoNewPrivs /proc/self/status"""
    output = shell(attack, command).output
    assert b"ROOT" not in output
    assert b"uid=1000(agent) gid=1000(agent)" in output
    assert b"euid=0" not in output
    assert output.count(b"0000000000000000") == 3
    assert b"NoNewPrivs:\t1" in output


def test_nothing_inside_runs_as_root_outside(attack):
    token = str(10_000_000 + int.from_bytes(os.urandom(3), "big"))

    async def scenario(sandbox):
        await sandbox.run(f"sleep {token} &")
        for pid in wait_for_processes(token, 1):
            users = users_of(pid)
            assert "0" not in users

    attack(scenario)


def test_a_terminal_that_ignores_every_signal_is_still_closed(attack):
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b"trap '' HUP INT TERM QUIT TSTP; echo READY; while true; do sleep 0.1; done\n")
        await read_until(terminal, b"READY")
        await asyncio.wait_for(terminal.close(), 60)
        result = await sandbox.run("trap '' TERM INT; while true; do sleep 0.1; done", timeout=0.3)
        assert result.exit_code is None

    attack(scenario)
