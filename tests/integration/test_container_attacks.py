"""Attacks from inside a container. Whatever ends there ends by the agent, and no other sandbox feels it."""

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from container_runtime import DEBIAN, TINY, make_container, needs_containers, settings, start_podman
from sandbox_scenarios import read_until

from turnmix.core.errors import SandboxError
from turnmix.core.task import Task, Workspace
from turnmix.core.trajectory import StopReason
from turnmix.environments.scaffolded import ScaffoldedEnvironment
from turnmix.policies.scripted import call_action
from turnmix.sandboxes.container.creation import TERMINALS
from turnmix.sandboxes.container.engine import Option, engine_for
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import ContainerSettings
from turnmix.sandboxes.sandbox import Limits, SandboxEnded, SandboxLimitExceeded
from turnmix.scaffold.scaffold import ScaffoldSettings

pytestmark = needs_containers
SMALL = Limits(
    memory_bytes=256 << 20, processes=60, file_bytes=64 << 20, disk_bytes=128 << 20, wall_seconds=120
)
TASK = Task(
    id="t",
    problem_statement="Repair a.py.",
    workspace=Workspace(working_directory="/testbed", files={"a.py": "x"}),
)


def python(program):
    return f"python3 - <<'END'\n{program}\nEND\n"


OVERWRITE = python("""
import os
for line in open("/proc/1/maps"):
    first, last = (int(word, 16) for word in line.split()[0].split("-"))
    if "r-x" in line and "[" not in line:
        with open("/proc/1/mem", "r+b", buffering=0) as memory:
            memory.seek(first)
            memory.write(bytes(last - first))
os.kill(-1, 9)
""")
TRACE = python("""
import ctypes
ctypes.CDLL(None).ptrace(0x4206, 1, 0, 0x100000)  # seize it, and have it killed when this process ends
""")
TYPE_TO_IT = (
    "for p in /proc/[0-9]*; do echo 'exit 77' > $p/fd/0; done 2>/dev/null; echo 'exit 77' > /proc/1/fd/3"
)
READ_ITS_LINES = "for n in 1 2 3; do cat /proc/1/fd/3 > /dev/null & done; sleep 0.2"
ENDINGS = {
    "overwrite its memory": OVERWRITE,
    "trace it": TRACE,
    "limit its time": python("import resource; resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))"),
    "type to it": TYPE_TO_IT,
    "read what is meant for it": READ_ITS_LINES,
    "kill all": "kill -9 -1",
    "remove what it runs": "rm -f /bin/sh /usr/bin/sh /bin/cat /usr/bin/cat /bin/rm /usr/bin/rm",
    "put something else there": "rm -f /bin/sh; cp /usr/bin/yes /bin/sh",
    "fill what it reads": "for n in 1 2 3; do (yes > /proc/1/fd/3) & done; sleep 0.3",
}


async def never_asked(task, sandbox, stop_reason):
    raise AssertionError("there is no final state to judge")


async def finish_quickly(task, sandbox):
    await sandbox.run("mkdir -p /testbed")


def inside(scenario, limits=SMALL, *, sandbox=None, image=DEBIAN):
    async def whole():
        chosen = sandbox or make_container(limits, image=image)
        await chosen.start()
        try:
            return await asyncio.wait_for(scenario(chosen), 300)
        finally:
            await chosen.stop()

    return asyncio.run(whole())


@pytest.mark.parametrize("way", ENDINGS)
def test_an_agent_that_ends_process_1_has_failed_and_is_counted(way, monkeypatch):
    async def scenario():
        environment = ScaffoldedEnvironment(
            task=TASK,
            sandbox=make_container(SMALL),
            settings=ScaffoldSettings(no_output_seconds=2.0),
            verifier=never_asked,
            prepare=finish_quickly,
        )
        try:
            await environment.reset()
            # What is not answered any more is not waited for; what is answered at first may take its time.
            monkeypatch.setattr("turnmix.sandboxes.container.line.ANSWER_SECONDS", 0.5)
            monkeypatch.setattr("turnmix.sandboxes.container.terminal.SET_UP_SECONDS", 3.0)
            monkeypatch.setattr("turnmix.sandboxes.container.sandbox.FILE_SECONDS", 3.0)
            for command in (ENDINGS[way], "echo on", "is_input_for_nothing"):
                step = await environment.step(call_action("execute_bash", command=command))
                if step.stop_reason is not None:
                    return step, await environment.verify(step.stop_reason)
            create = {"command": "create", "path": "/testbed/b.py", "file_text": "y = 1\n"}
            step = await environment.step(call_action("str_replace_editor", **create))
            return step, None if step.stop_reason is None else await environment.verify(step.stop_reason)
        finally:
            await environment.close()

    step, verdict = asyncio.run(asyncio.wait_for(scenario(), 300))
    assert step.stop_reason in (None, StopReason.limit_exceeded)
    if verdict is not None:
        assert (verdict.resolved, verdict.details["submitted"]) == (False, False)
        assert "[The machine was stopped: the container" in step.observation[0].content


def podman(*arguments):
    return lambda name: subprocess.run(["podman", *arguments, name], capture_output=True, timeout=60)


@pytest.mark.parametrize("order", [("kill",), ("rm", "-f", "-t0"), ("stop", "-t0"), ("pause",)])
def test_what_ends_a_container_from_outside_is_an_infrastructure_failure(order, monkeypatch):
    monkeypatch.setattr("turnmix.sandboxes.container.line.ANSWER_SECONDS", 0.3)

    async def scenario(sandbox):
        running = asyncio.ensure_future(sandbox.run("echo > /begun; sleep 600", timeout=200))
        await until_it_is_there("/begun", sandbox)
        await asyncio.to_thread(podman(*order), sandbox.name)
        if order == ("pause",):  # which is noticed where somebody waits no longer for the command
            running.cancel()
            running = asyncio.ensure_future(sandbox.run("true"))
        with pytest.raises(SandboxError) as caught:
            await asyncio.wait_for(running, 200)
        assert not isinstance(caught.value, SandboxEnded)

    inside(scenario)


def test_a_runtime_that_is_gone_is_an_infrastructure_failure(tmp_path):
    address, process = start_podman(tmp_path)
    sandbox = ContainerSandbox(DEBIAN, settings=ContainerSettings(socket=address, pull="never"), limits=SMALL)

    async def scenario():
        await sandbox.start()
        running = asyncio.ensure_future(sandbox.run("sleep 600", timeout=200))
        await asyncio.sleep(0.3)  # it is told of the command, or not yet
        process.kill()
        process.wait()
        with pytest.raises(SandboxError) as caught:
            await asyncio.wait_for(running, 200)
        assert not isinstance(caught.value, SandboxEnded)
        with contextlib.suppress(SandboxError):
            await sandbox.stop()

    try:
        asyncio.run(scenario())
    finally:
        engine_for(settings()).remove(sandbox.name)


def test_no_answer_of_the_supervisor_can_be_forged():
    async def scenario(sandbox):
        words = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | sort -u"
        forge = (
            f'for word in $({words}); do printf \'\\n%s %s 0\\n\' "$word" "${{SANDBOX_JOB%.}}"; done; exit 5'
        )
        assert (await sandbox.run(forge)).exit_code == 5
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(forge.encode() + b"\n")
        while await terminal.read():
            pass
        assert (await sandbox.run("exit 6")).exit_code == 6

    inside(scenario)


def test_noise_on_every_line_of_the_supervisor_takes_no_memory_and_ends_no_command():
    def resident_kilobytes():
        return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

    async def scenario(sandbox):
        before = resident_kilobytes()
        await sandbox.run("for n in 1 2; do (head -c 300000000 /dev/zero > /proc/1/fd/$n) & done")
        for _ in range(5):
            with contextlib.suppress(SandboxEnded):
                result = await sandbox.run("echo on", timeout=5, output_limit=100_000)
                assert len(result.output) <= 100_000
        assert resident_kilobytes() < before + 60_000

    inside(scenario)


PROBE = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(*words):
    return libc.syscall(*(ctypes.c_long(word) for word in words)) >= 0
for family in range(64):
    for kind in (1, 2, 3, 5):
        for high in (0, 1 << 32):
            if call(41, family | high, kind, 0) or call(53, family | high, kind, 0, id(b"12345678")):
                if family not in (1, 2, 10, 16):
                    print("FAMILY", family)
if os.fork() == 0:
    os._exit(0 if call(272, 0) else 1)
print("unshare", os.wait()[1])
namespaces = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
for number, *words in [
    (250, 0, -3, 0), (248, 0, 0, 0, 0, 0), (249, 0, 0, 0, 0), (425, 1, 0), (321, 0, 0, 0), (298, 0, 0, 0, 0, 0),
    (323, 0), (206, 1, id(b"12345678")), (435, 0, 0), (308, 0, 0), (165, 0, 0, 0, 0, 0), (304, 0, 0, 0), (300, 0, 0),
    (101, 16, 1, 0, 0), (101, 0x4206, 1, 0, 0), (302, 1, 0, 0, 0), (302, (1 << 32) | 1, 0, 0, 0), (438, 0, 0, 0),
    *((56, flag | 17, 0, 0, 0, 0) for flag in namespaces), (430, 0, 0), (103, 3, 0, 0),
]:
    if call(number, *words):
        print("ALLOWED", number, hex(words[0]))
print(open("/proc/self/oom_score_adj").read())
try:
    least = int(open("/proc/1/oom_score_adj").read())
    os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"%d" % (least - 1))
    print("LOWERED")
except OSError:
    pass
for line in open("/proc/self/status"):
    if line.startswith(("CapBnd", "NoNewPrivs", "Seccomp:")):
        print(line.split()[1])
pair = socket.socketpair()
print(socket.socket(socket.AF_INET6), os.memfd_create("x"))
"""


def test_what_the_kernel_offers_beyond_need_is_refused():
    async def scenario(sandbox):
        return await sandbox.run("python3 -", stdin=PROBE.encode())

    result = inside(scenario)
    words = result.output.decode().split()
    assert result.exit_code == 0, result.output
    assert words[:2] == ["unshare", "256"], result.output
    assert words[2] == "1000"
    assert "LOWERED" not in words
    # CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP
    privileges = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31))
    assert words[3:6] == [f"{privileges:016x}", "1", "2"]


HOLD_TERMINALS = python("""
import os, time
held = []
try:
    while len(held) < 900:
        held.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
except OSError:
    pass
print(len(held), flush=True)
time.sleep(600)
""")


def test_a_container_has_a_few_terminals_and_the_others_keep_theirs():
    async def scenario(sandbox):
        assert (
            await sandbox.run("su nobody -s /bin/sh -c 'exec 3<>/dev/ptmx && echo one'")
        ).output == b"one\n"
        command = f"exec > /held; {HOLD_TERMINALS}"
        holding = asyncio.ensure_future(sandbox.run(command, timeout=float("inf")))  # beside others
        held = await until_it_is_there("/held", sandbox)
        neighbour = make_container(SMALL, image=TINY)
        await neighbour.start()
        try:
            terminal = await neighbour.open_terminal(working_directory="/")
            await terminal.write(b"[ -t 0 ] && echo TERMINAL\n")
            await read_until(terminal, b"TERMINAL\n")
        finally:
            await neighbour.stop()
        assert int(held) <= TERMINALS
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        shell = await sandbox.open_terminal(working_directory="/")
        await shell.write(b"echo here\n")
        await read_until(shell, b"here\n")

    inside(scenario)


async def until_it_is_there(path, sandbox):
    """The content of a file that a command writes at once, while that command runs."""
    look = f"until [ -s {path} ]; do sleep 0.02; done; cat {path}"
    return (await sandbox.run(look, timeout=float("inf"))).output


async def until_it_ends(sandbox):
    while True:
        await sandbox.run("sleep 0.2")


def test_where_terminals_have_no_limit_their_holder_is_ended(monkeypatch):
    engine = engine_for(settings())
    monkeypatch.setattr(engine, "options", engine.options - {Option.terminals})
    monkeypatch.setattr("turnmix.sandboxes.container.watches.TERMINAL_SECONDS", 0.3)

    async def scenario(sandbox):
        assert (await sandbox.run(HOLD_TERMINALS, timeout=200)).exit_code == 128 + 9
        assert (await sandbox.run("echo on")).output == b"on\n"
        program = HOLD_TERMINALS.split("\n", 1)[1].rpartition("END")[0]
        await sandbox.write_file("/hold.py", program.encode())
        await sandbox.run("(env -i setsid python3 /hold.py </dev/null >/dev/null 2>&1 &)")
        with pytest.raises(SandboxEnded):
            await until_it_ends(sandbox)

    inside(scenario)


@pytest.mark.parametrize("path", ["/etc/hosts", "/run/.containerenv"])
def test_files_of_the_machine_in_a_container_count_as_its_own(path, monkeypatch):
    monkeypatch.setattr("turnmix.sandboxes.container.watches.DISK_SECONDS", 0.2)

    async def scenario(sandbox):
        with pytest.raises(SandboxLimitExceeded) as caught:
            # The longer a look takes on a busy machine, the longer the pause to the next one.
            await sandbox.run(f"head -c 30000000 /dev/zero > {path}; sleep 900", timeout=250)
        assert caught.value.limit == "disk_bytes"

    inside(scenario, Limits(disk_bytes=20 << 20))


def test_a_podman_that_cannot_read_the_filter_uses_its_own_and_says_so(monkeypatch, capsys):
    @contextlib.contextmanager
    def elsewhere(engine, options):
        yield ["seccomp=/nowhere/filter.json"] if Option.profile in options else []

    engine = engine_for(settings())
    monkeypatch.setattr(engine, "options", engine.options)
    monkeypatch.setattr("turnmix.sandboxes.container.creation._seccomp", elsewhere)
    for _ in range(2):
        assert inside(lambda sandbox: sandbox.run("echo on")).output == b"on\n"
    assert capsys.readouterr().err.count("Podman cannot read the system call filter") == 1
    assert Option.terminals in engine.options


def test_no_proxy_of_the_machine_comes_in(tmp_path):
    proxies = {"http_proxy": "http://user:secret@proxy:1", "HTTPS_PROXY": "http://user:secret@proxy:1"}
    address, process = start_podman(tmp_path, **proxies)

    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b"env; echo E''ND\n")
        seen = await read_until(terminal, b"END\n")
        return seen + (await sandbox.run("env; cat /proc/[0-9]*/environ")).output

    try:
        chosen = ContainerSandbox(
            DEBIAN, settings=ContainerSettings(socket=address, pull="never"), limits=SMALL
        )
        seen = inside(scenario, sandbox=chosen)
    finally:
        process.terminate()
        process.wait(timeout=120)
    assert b"secret" not in seen
    assert b"PATH=" in seen
    assert os.environ["PATH"].encode() not in seen
