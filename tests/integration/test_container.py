"""What a container does for an agent that means well, and where it ends for one that does not."""

import asyncio
import gc
import os
import subprocess
import time

import pytest
from container_runtime import DEBIAN, TINY, make_container, needs_containers, settings
from sandbox_scenarios import (
    few_processes,
    interrupt_a_command,
    processes_without,
    read_until,
    run_past_its_time,
    until_runs,
    work_beside_a_flood,
)
from scaffold_in_sandbox import PATIENT, in_world

from turnmix.core.errors import MissingDependencyError, SandboxError, UserError
from turnmix.recipe.recipe import Recipe
from turnmix.sandboxes.container.engine import engine_for
from turnmix.sandboxes.container.sandbox import ContainerSandbox
from turnmix.sandboxes.container.settings import CONTAINER_LIMITS, ContainerSettings
from turnmix.sandboxes.sandbox import Limits, SandboxLimitExceeded
from turnmix.sandboxes.selection import BubblewrapSettings, ContainerSandboxSettings
from turnmix.sandboxes.settings import SandboxNeeds

pytestmark = needs_containers
IMAGES = pytest.mark.parametrize("image", [DEBIAN, TINY], ids=["debian", "posix-shell-alone"])
ALL_BYTES = bytes(range(256))


def inside(scenario, limits=None, *, sandbox=None, image=DEBIAN):
    """Run `scenario(sandbox)` in a started container that is gone afterwards."""

    async def whole():
        chosen = sandbox or make_container(limits, image=image)
        await chosen.start()
        try:
            return await asyncio.wait_for(scenario(chosen), 300)
        finally:
            await chosen.stop()

    return asyncio.run(whole())


def run(command, image=DEBIAN, **options):
    return inside(lambda sandbox: sandbox.run(command, **options), image=image)


def containers():
    """The names of those that are there, running or not."""
    api = engine_for(settings()).api
    return {name.lstrip("/") for container in api.containers(all=True) for name in container["Names"]}


def kill(name):
    subprocess.run(["podman", "kill", name], check=True, capture_output=True)


@IMAGES
def test_commands_give_their_exit_code_and_both_outputs_in_order(image):
    async def scenario(sandbox):
        result = await sandbox.run("echo one; echo two >&2; echo three; exit 7")
        assert (result.exit_code, result.output) == (7, b"one\ntwo\nthree\n")
        assert (await sandbox.run("kill -SEGV $$")).exit_code == 128 + 11
        assert (await sandbox.run("printf 'no newline'")).output == b"no newline"
        assert (await sandbox.run("true")).output == b""
        assert (await sandbox.run("printf '\\n\\n'")).output == b"\n\n"

    inside(scenario, image=image)


@IMAGES
def test_a_command_gets_its_input_directory_and_environment(image):
    result = run(
        "cat; pwd; echo $FRUIT $HOME",
        image,
        stdin=ALL_BYTES * 4000,
        working_directory="/testbed",
        environment={"FRUIT": "it's a\nfig"},
    )
    assert result.output == ALL_BYTES * 4000 + b"/testbed\nit's a fig /root\n"


@IMAGES
def test_a_command_of_any_bytes_arrives_as_it_is(image):
    text = "".join(map(chr, range(1, 256))) + "\\ \\\\ '\" $x `y` \n\n !!"
    quoted = "'" + text.replace("'", "'\\''") + "'"
    assert run(f"printf %s {quoted}", image).output == text.encode()


@IMAGES
def test_a_command_past_its_time_out_is_killed_with_its_children_and_keeps_its_output(image):
    async def scenario(sandbox):
        detach = "busybox setsid" if image == TINY else "setsid"
        nap = "busybox sleep" if image == TINY else "sleep"
        command = f"echo begun; {detach} {nap} 710 & {nap} 720 | cat"
        result, seconds = await run_past_its_time(sandbox, command)
        return result, seconds, await processes_without(sandbox, b"sleep 7")

    result, seconds, seen = inside(scenario, image=image)
    assert (result.exit_code, result.output) == (None, b"begun\n")
    assert seconds < 200
    assert b"sleep 7" not in seen


def test_a_command_that_leaves_a_background_process_returns_at_once():
    async def scenario(sandbox):
        started = time.monotonic()
        assert (await sandbox.run("sleep 900 & echo started")).output == b"started\n"
        late = "(until [ -e /over ]; do sleep 0.02; done; echo late) & echo two"
        assert (await sandbox.run(late)).output == b"two\n"
        assert (await sandbox.run("touch /over; yes & sleep 0.1; exit 5")).exit_code == 5
        assert (await sandbox.run("echo three")).output == b"three\n"
        assert time.monotonic() - started < 200

    inside(scenario)


def test_interrupts_are_not_ignored_by_what_a_command_starts():
    script = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert run(f'python3 -c "{script}"').output == b"True\n"


def test_output_beyond_the_limit_is_cut_and_the_command_goes_on():
    result = run("head -c 30000000 /dev/zero; exit 3", output_limit=1000)
    assert (result.exit_code, result.output) == (3, bytes(1000))


def test_a_directory_that_is_gone_and_a_command_that_cannot_be_started_are_answers_not_errors():
    async def scenario(sandbox):
        assert (await sandbox.run("true", working_directory="/testbed/gone")).exit_code == 126
        assert (await sandbox.run("echo \0")).exit_code == 126
        assert (await sandbox.run("echo \ud800; exit 4")).exit_code == 4
        assert (await sandbox.run("x" * 300_000)).exit_code == 126
        assert (await sandbox.run("syntax (")).exit_code == 2

    inside(scenario)


@IMAGES
def test_files_come_and_go_whole(image):
    async def scenario(sandbox):
        content = os.urandom(5_000_000)
        await sandbox.write_file("/testbed/a/b/c.bin", content)
        assert await sandbox.read_file("/testbed/a/b/c.bin") == content
        await sandbox.write_file("/testbed/a/b/c.bin", b"short")
        assert await sandbox.read_file("/testbed/a/b/c.bin") == b"short"
        await sandbox.write_file("/testbed/empty", b"")
        assert await sandbox.read_file("/testbed/empty") == b""
        await sandbox.write_file("/testbed/a b'\nc", ALL_BYTES)
        assert await sandbox.read_file("/testbed/a b'\nc") == ALL_BYTES
        listing = (await sandbox.run("echo /.* /*")).output
        assert b"turnmix" not in listing

    inside(scenario, image=image)


def test_writing_keeps_a_files_mode_and_follows_links_inside():
    async def scenario(sandbox):
        await sandbox.run(
            "echo old > f; chmod 751 f; ln f hard; ln -s f soft; ln -s /etc away",
            working_directory="/testbed",
        )
        await sandbox.write_file("/testbed/soft", b"new\n")
        await sandbox.write_file("/testbed/away/made", b"here\n")
        result = await sandbox.run(
            "stat -c %a f; cat f hard; readlink soft; cat /etc/made", working_directory="/testbed"
        )
        assert result.output == b"751\nnew\nnew\nf\nhere\n"

    inside(scenario)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/testbed/gone", FileNotFoundError),
        ("/testbed", IsADirectoryError),
        ("/etc/passwd/below", NotADirectoryError),
        ("/testbed/loop", OSError),
        ("/testbed/pipe", OSError),
        ("/dev/zero", OSError),
        ("relative", OSError),
        ("/zero\0byte", OSError),
        ("/testbed/large", OSError),
        ("/proc/self/mem", OSError),
    ],
)
@IMAGES
def test_what_cannot_be_read_is_the_file_systems_error_and_never_waits(path, error, image):
    async def scenario(sandbox):
        await sandbox.run(
            "b=; [ -x /bin/busybox ] && b=busybox; cd /testbed; $b mkfifo pipe; $b ln -s loop loop;"
            "$b head -c 20000 /dev/zero > large"
        )
        with pytest.raises(error) as caught:
            await sandbox.read_file(path, limit=1000)
        assert caught.value.filename == path
        assert (await sandbox.run("echo on")).output == b"on\n"

    inside(scenario, image=image)


def test_what_cannot_be_written_is_the_file_systems_error():
    async def scenario(sandbox):
        await sandbox.run("mkfifo /testbed/pipe")
        await sandbox.write_file("/testbed/file", b"")
        for path in ("/proc/new", "/testbed", "/testbed/file/below", "/testbed/pipe", "/sys/x", "/dev/null"):
            with pytest.raises(OSError):
                await sandbox.write_file(path, b"x")
        assert b"turnmix" not in (await sandbox.run("echo /.*")).output

    inside(scenario)


@IMAGES
def test_a_terminal_keeps_its_directory_and_variables_and_echoes_nothing(image):
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/testbed")
        await terminal.write(b"cd /tmp; fruit=fig\n")
        await terminal.write(b'echo "$PWD $fruit!"; echo END\n')
        output = await read_until(terminal, b"END\n")
        assert output.endswith(b"/tmp fig!\nEND\n")
        assert b"echo" not in output

    inside(scenario, image=image)


def test_a_terminal_works_where_the_image_has_no_stty(monkeypatch):
    monkeypatch.setattr("turnmix.scaffold.bash.INTERRUPT_SECONDS", PATIENT)

    async def test(world):
        def ended(command, **arguments):
            return world.bash(command, timeout=PATIENT, **arguments)

        await world.sandbox.run("rm /bin/stty /usr/bin/stty")
        assert (await ended("cd /tmp; X=1")).endswith("/tmp]\n[Command finished with exit code 0]")
        assert (await ended("echo $X; (exit 3)")).startswith("1\n")
        assert "Stopped after" in await world.bash("sleep 600", timeout=2)
        assert (await ended("echo $X")).startswith("1\n")
        assert "No output" in await world.bash("sleep 601; echo after")
        await until_runs(world.sandbox, b"sleep 601")
        assert "exit code 130" in await ended("C-c", is_input="true")
        assert "No output" in await world.bash("read line; echo got $line")
        assert (await ended("word", is_input="true")).startswith("got word\n")

    in_world(test, sandbox=make_container(), no_output_seconds=0.3)


def test_the_scaffold_works_where_there_is_a_posix_shell_alone():
    async def test(world):
        def ended(command, **arguments):
            return world.bash(command, timeout=PATIENT, **arguments)

        assert (await ended("cd /tmp; X=1; f() { echo f$X; }")).endswith("exit code 0]")
        assert (await ended("f; (exit 3)")).startswith("f1\n")
        assert "exit code 3]" in await ended("(exit 3)")
        assert "No output" in await world.bash("read line; echo got $line")
        assert (await ended("word", is_input="true")).startswith("got word\n")
        assert "No output" in await world.bash("busybox sleep 600")
        await until_runs(world.sandbox, b"sleep 600")
        assert "exit code 130" in await ended("C-c", is_input="true")
        assert "exit code 2]" in await ended("if true; then")
        assert (await ended("echo $X")).startswith("1\n")
        path = "/testbed/pkg/a.py"
        assert await world.edit("create", path, file_text="x = 1\ny = 2\n") == f"Created {path}."
        assert (await world.edit("str_replace", path, old_str="x = 1", new_str="x = 3")).startswith("Edited")
        assert await world.edit("view", path) == "     1\tx = 3\n     2\ty = 2"
        assert await world.edit("view", "/testbed") == "/testbed:\npkg/\npkg/a.py"

    in_world(test, sandbox=make_container(image=TINY), no_output_seconds=0.3)


def test_closing_a_terminal_kills_what_it_started_and_ends_a_pending_read():
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b"sleep 71 & setsid sleep 72 & echo BEGUN\n")
        await read_until(terminal, b"BEGUN\n")
        reading = asyncio.ensure_future(terminal.read())
        await asyncio.sleep(0.05)
        await terminal.close()
        await terminal.close()
        await asyncio.wait_for(reading, 60)
        return await processes_without(sandbox, b"sleep")

    assert b"sleep" not in inside(scenario)


def test_an_interrupt_ends_the_foreground_command_and_not_the_shell():
    assert b"ALIVE 130" in inside(interrupt_a_command)


def test_a_flood_of_output_stops_nothing_else():
    assert b"ALIVE" in inside(work_beside_a_flood)


def test_there_is_no_network():
    assert run("cat /proc/net/dev | grep -c :").output.strip() == b"1"
    result = run(
        "python3 -c \"import socket; socket.create_connection(('1.1.1.1', 80), 3)\" 2>&1 | tail -n 1"
    )
    assert b"unreachable" in result.output


def test_processes_and_memory_are_limited_and_the_sandbox_lives_on():
    async def scenario(sandbox):
        hog = "python3 -c 'x = bytearray(1 << 30); x[::4096] = b\"x\" * (1 << 18)'"
        assert (await sandbox.run(hog)).exit_code == 128 + 9
        bomb = await sandbox.run("f() { f | f & }; f; sleep 5", timeout=2)
        assert bomb.exit_code in (
            None,
            0,
            2,
            126,
            254,
        )  # 126: it left no room for the shell that was to run it
        await few_processes(sandbox, 30)
        assert (await sandbox.run("echo alive")).output == b"alive\n"

    inside(scenario, Limits(memory_bytes=256 << 20, processes=40, disk_bytes=1 << 30, file_bytes=1 << 30))


def test_a_file_cannot_grow_beyond_its_limit():
    result = run_limited("head -c 5000000 /dev/zero > /testbed/big; stat -c %s /testbed/big")
    assert result.output.split()[-1] == b"1048576"


def run_limited(command):
    limits = Limits(memory_bytes=256 << 20, processes=40, disk_bytes=1 << 30, file_bytes=1 << 20)
    return inside(lambda sandbox: sandbox.run(command), limits)


def test_a_container_that_writes_too_much_is_ended(monkeypatch):
    monkeypatch.setattr("turnmix.sandboxes.container.watches.DISK_SECONDS", 0.2)

    async def scenario(sandbox):
        with pytest.raises(SandboxLimitExceeded) as caught:
            # The longer a look takes on a busy machine, the longer the pause to the next one.
            await sandbox.run("head -c 30000000 /dev/zero > /testbed/big; sleep 900", timeout=250)
        assert caught.value.limit == "disk_bytes"

    inside(scenario, Limits(disk_bytes=20 << 20))


def test_the_wall_time_ends_the_sandbox_and_says_so():
    async def scenario(sandbox):
        with pytest.raises(SandboxLimitExceeded) as caught:
            await sandbox.run("sleep 60")
        assert caught.value.limit == "wall_seconds"

    inside(scenario, Limits(wall_seconds=0.5))


@pytest.mark.parametrize(
    "act", ["kill -9 -1", "kill -9 1", "pkill -9 sh; pkill -9 cat", "kill -TERM 1; kill -INT 1"]
)
def test_an_agent_that_kills_all_it_can_loses_its_own_processes_alone(act):
    async def scenario(sandbox):
        result = await sandbox.run(f"{act}; echo after", timeout=120)
        assert result.exit_code is not None
        assert (await sandbox.run("echo alive")).output == b"alive\n"

    inside(scenario)


def test_an_agent_that_stops_every_process_is_undone(monkeypatch):
    monkeypatch.setattr("turnmix.sandboxes.container.line.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("turnmix.sandboxes.container.line.ANSWER_ATTEMPTS", 100)  # it does answer in the end

    async def scenario(sandbox):
        assert (await sandbox.run("kill -STOP -1; sleep 30", timeout=1)).exit_code is None
        assert (await sandbox.run("echo alive")).output == b"alive\n"

    inside(scenario)


def test_a_container_that_dies_from_outside_is_an_infrastructure_failure():
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        reading = asyncio.ensure_future(terminal.read())
        running = asyncio.ensure_future(sandbox.run("sleep 60"))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(kill, sandbox.name)
        for pending in (running, reading):
            with pytest.raises(SandboxError) as caught:
                await asyncio.wait_for(pending, 60)
            assert not isinstance(caught.value, SandboxLimitExceeded)
        with pytest.raises(SandboxError):
            await sandbox.read_file("/etc/passwd")

    inside(scenario)


def test_a_command_whose_caller_is_cancelled_is_killed():
    async def scenario(sandbox):
        running = asyncio.ensure_future(sandbox.run("sleep 4321"))
        await asyncio.sleep(0.2)
        running.cancel()
        return await processes_without(sandbox, b"4321")

    assert b"4321" not in inside(scenario)


def test_start_and_stop_leave_no_container_no_thread_in_use_and_no_open_descriptor(monkeypatch):
    monkeypatch.setattr("turnmix.sandboxes.container.watches.DISK_SECONDS", 600.0)  # it would ask beside

    async def one():
        sandbox = make_container()
        await sandbox.stop()
        sandbox = make_container()
        await sandbox.start()
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b"sleep 4321\n")
        await sandbox.stop()
        await sandbox.stop()
        with pytest.raises(SandboxError):
            await sandbox.run("true")
        with pytest.raises(SandboxError):
            await terminal.read()
        assert sandbox.name not in containers()

    async def scenario():
        await one()
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await one()
        return before, len(os.listdir("/proc/self/fd"))

    before, after = asyncio.run(scenario())
    assert after <= before


def test_a_start_that_is_cancelled_leaves_no_container():
    async def scenario():
        sandboxes = [make_container() for _ in range(6)]
        starting = [asyncio.ensure_future(sandbox.start()) for sandbox in sandboxes]
        await asyncio.sleep(0.2)
        for start in starting:
            start.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        for sandbox in sandboxes:
            await sandbox.stop()
        return {sandbox.name for sandbox in sandboxes}

    assert not asyncio.run(scenario()) & containers()


def test_an_image_that_is_not_here_is_named_before_anything_starts():
    with pytest.raises(SandboxError, match="docker pull localhost/no-such-image:1"):
        inside(None, image="localhost/no-such-image:1")
    missing = settings().model_copy(update={"image": "localhost/no-such-image:1"})
    with pytest.raises(UserError, match="no-such-image"):
        ContainerSandboxSettings(container=missing).check()


def test_an_image_without_a_shell_is_said_at_the_start():
    made = subprocess.run(
        "tar -cT /dev/null | podman import -q -", shell=True, capture_output=True, text=True
    )
    image = made.stdout.strip().removeprefix("sha256:")
    with pytest.raises(SandboxError, match="/bin/sh"):
        inside(None, sandbox=ContainerSandbox(image, settings=settings()))
    subprocess.run(["podman", "rmi", image], capture_output=True)


def test_a_runtime_that_does_not_answer_is_said_with_what_to_install():
    nowhere = ContainerSandboxSettings(container=ContainerSettings(socket="unix:///nowhere.sock"))
    with pytest.raises(MissingDependencyError, match="apt-get install podman"):
        nowhere.check()


def test_a_recipe_selects_containers_with_limits_of_their_own():
    recipe = Recipe.model_validate(
        {"method": "dagger", "sandbox": {"processes": 99, "container": {"image": DEBIAN}}}
    )
    sandbox = recipe.sandbox.make(SandboxNeeds(image="other:1", variables={"A": "1"}))
    assert isinstance(sandbox, ContainerSandbox)
    assert (sandbox.image, sandbox.limits.processes) == ("other:1", 99)
    assert sandbox.limits.memory_bytes == CONTAINER_LIMITS.memory_bytes
    assert BubblewrapSettings().memory_bytes == Limits().memory_bytes
    with pytest.raises(UserError, match=r"sandbox\.container\.image"):
        ContainerSandboxSettings().make()
    with pytest.raises(UserError, match="kind=container"):
        BubblewrapSettings().make(SandboxNeeds(image="other:1"))


@IMAGES
def test_a_command_without_a_time_out_runs_beside_others_and_ends_with_what_it_started(image):
    async def scenario(sandbox):
        long = asyncio.ensure_future(
            sandbox.run(
                "echo $$ $mine >/tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; "
                "printf 'out\\n'; printf err >&2; exit 7",
                working_directory="/tmp",
                environment={"mine": "a 'b'\n"},
                timeout=float("inf"),
            )
        )
        while not await _has(sandbox, "/tmp/begun"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert b"a 'b'" in await sandbox.read_file("/tmp/begun")
        await sandbox.write_file("/tmp/go", b"")
        result = await long
        assert (result.exit_code, result.output) == (7, b"out\nerr")
        endless = asyncio.ensure_future(sandbox.run("sleep 4321 & sleep 1234", timeout=float("inf")))
        await until_runs(sandbox, b"sleep 4321")
        endless.cancel()
        await asyncio.gather(endless, return_exceptions=True)
        for word in (b"sleep 4321", b"sleep 1234"):
            assert word not in await processes_without(sandbox, word)
        flood = await sandbox.run(
            "head -c 300000 /dev/zero | tr '\\0' x", timeout=float("inf"), output_limit=1 << 17
        )
        assert (flood.exit_code, flood.output) == (0, b"x" * (1 << 17))
        dies = await sandbox.run("echo last; kill -9 $PPID; sleep 5", timeout=float("inf"))
        assert dies.exit_code == 137
        assert dies.output.startswith(b"last")
        with_limits = asyncio.ensure_future(sandbox.run("sleep 999", timeout=float("inf")))
        await asyncio.sleep(1)
        kill(sandbox.name)
        with pytest.raises(SandboxError):
            await with_limits

    inside(scenario, image=image)


async def _has(sandbox, path):
    try:
        await sandbox.read_file(path)
    except FileNotFoundError:
        return False
    return True
