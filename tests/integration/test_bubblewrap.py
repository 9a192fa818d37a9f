"""What a sandbox does for an agent that means well."""

import asyncio
import os
import subprocess
import sys
import time

import pytest
from held_things import under_limit
from sandbox_scenarios import (
    interrupt_a_command,
    processes_without,
    read_until,
    run_past_its_time,
    until_in_front,
    work_beside_a_flood,
)

from turnmix.core.errors import MissingDependencyError, SandboxError, UserError
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.sandbox import Limits, SandboxLimitExceeded
from turnmix.sandboxes.selection import BubblewrapSettings, UnsandboxedSettings
from turnmix.sandboxes.supervisor_code import Interpreter

try:
    BubblewrapSettings().check()
    MISSING = ""
except MissingDependencyError as error:
    MISSING = str(error)
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def inside(scenario, limits=None, sandbox=None):
    """Run `scenario(sandbox)` in a started sandbox that is stopped afterwards."""

    async def whole():
        chosen = sandbox or BubblewrapSandbox(limits)
        await chosen.start()
        try:
            return await asyncio.wait_for(scenario(chosen), 200)
        finally:
            await chosen.stop()

    return asyncio.run(whole())


def run(command, **options):
    return inside(lambda sandbox: sandbox.run(command, **options))


def test_a_command_gives_its_exit_code_and_both_its_outputs_in_order():
    result = run("echo one; echo two >&2; echo three; exit 7")
    assert (result.exit_code, result.output) == (7, b"one\ntwo\nthree\n")


def test_a_large_input_arrives_whole_long_before_the_time_out():
    """It took longer than the time-out of 60 seconds while each piece that was passed on copied the rest."""
    size = 128 << 20
    result = inside(lambda sandbox: sandbox.run("wc -c", stdin=b"x" * size))
    assert (result.exit_code, int(result.output)) == (0, size)


def test_a_scaffolds_own_environment_is_shown_and_found_after_the_machines_programs(tmp_path):
    own = tmp_path / "own"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", own], check=True)
    for name in ("own-agent", "ls"):
        (own / "bin" / name).write_text("#!/bin/sh\necho mine\n")
        (own / "bin" / name).chmod(0o755)
    sandbox = BubblewrapSettings(python_environments=[str(own)]).make()
    command = f"own-agent; command -v ls; $TURNMIX_PYTHON -c 'import sys; print(sys.prefix)'; touch {own}/x"
    lines = inside(lambda sandbox: sandbox.run(command), sandbox=sandbox).output.decode().splitlines()
    assert lines[:3] == ["mine", "/usr/bin/ls", str(own)]
    assert "Read-only" in lines[3]
    with pytest.raises(UserError, match="there is no"):
        list(BubblewrapSettings(python_environments=[str(tmp_path)]).check())


def test_a_command_killed_by_a_signal_has_the_exit_code_a_shell_gives():
    assert run("kill -SEGV $$").exit_code == 128 + 11


def test_a_command_gets_its_input_directory_and_environment():
    result = run(
        "cat; pwd; echo $FRUIT $HOME",
        stdin=b"in" * 100_000,
        working_directory="/testbed",
        environment={"FRUIT": "fig"},
    )
    assert result.output == b"in" * 100_000 + b"/testbed\nfig /home/agent\n"


def test_a_command_past_its_time_out_is_killed_with_its_children_and_keeps_its_output():
    async def scenario(sandbox):
        result, seconds = await run_past_its_time(sandbox, "echo begun; setsid sleep 710 & sleep 720 | cat")
        return result, seconds, await processes_without(sandbox, b"sleep 7")

    result, seconds, processes = inside(scenario)
    assert (result.exit_code, result.output) == (None, b"begun\n")
    assert seconds < 200
    assert b"sleep 7" not in processes


def test_a_command_that_leaves_a_background_process_returns_at_once():
    started = time.monotonic()
    assert run("sleep 900 & echo started").output == b"started\n"
    assert time.monotonic() - started < 200


def test_output_beyond_the_limit_is_cut_and_the_command_goes_on():
    result = run("head -c 3000000 /dev/zero; exit 3", output_limit=1000)
    assert (result.exit_code, result.output) == (3, bytes(1000))


def test_a_directory_that_is_gone_and_a_command_with_a_zero_byte_are_answers_not_errors():
    assert run("true", working_directory="/testbed/gone").exit_code == 126
    assert run("echo \0").exit_code == 126
    assert run("echo \ud800; exit 4").exit_code == 4
    assert run("x" * 300_000).exit_code == 126


def test_files_are_written_and_read_whole():
    async def scenario(sandbox):
        content = os.urandom(3_000_000)
        await sandbox.write_file("/testbed/a/b/c.bin", content)
        assert await sandbox.read_file("/testbed/a/b/c.bin") == content
        await sandbox.write_file("/testbed/a/b/c.bin", b"short")
        assert await sandbox.read_file("/testbed/a/b/c.bin") == b"short"
        assert (await sandbox.run("cat a/b/c.bin", working_directory="/testbed")).output == b"short"
        await sandbox.write_file("/testbed/empty", b"")
        assert await sandbox.read_file("/testbed/empty") == b""

    inside(scenario)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/testbed/gone", FileNotFoundError),
        ("/testbed", IsADirectoryError),
        ("/proc/1/environ", PermissionError),
        ("/testbed/pipe", OSError),
        ("/dev/zero", OSError),
        ("relative", OSError),
        ("/zero\0byte", OSError),
        ("/testbed/large", OSError),
    ],
)
def test_what_cannot_be_read_is_the_file_systems_error_and_never_waits(path, error):
    async def scenario(sandbox):
        await sandbox.run("mkfifo /testbed/pipe; head -c 2000 /dev/zero > /testbed/large")
        with pytest.raises(error) as caught:
            await sandbox.read_file(path, limit=1000)
        assert caught.value.filename == path
        assert (await sandbox.run("echo on")).output == b"on\n"

    inside(scenario)


def test_what_cannot_be_written_is_the_file_systems_error():
    async def scenario(sandbox):
        await sandbox.write_file("/testbed/file", b"")
        await sandbox.run("ln -s /testbed/none/x /testbed/dangling; ln -s loop /testbed/loop")
        for path in (
            "/usr/bin/new",
            "/etc/new",
            "/testbed",
            "/testbed/file/below",
            "/testbed/dangling/a/b",
            "/testbed/dangling",
            "/testbed/loop/a/b",
            "/testbed/" + "x" * 300 + "/y",
            "/proc/self/oom_score_adj",
        ):
            with pytest.raises(OSError):
                await sandbox.write_file(path, b"x")

    inside(scenario)


@pytest.mark.parametrize("levels", [1010, 2044])
def test_a_file_below_as_many_directories_as_a_path_holds_is_written(levels):
    async def scenario(sandbox):
        path = "/tmp" + "/a" * levels + "/x"
        await sandbox.write_file(path, b"deep")
        assert await sandbox.read_file(path) == b"deep"

    inside(scenario)


def test_a_path_that_is_too_long_makes_no_directory():
    async def scenario(sandbox):
        with pytest.raises(OSError, match="File name too long"):
            await sandbox.write_file("/testbed" + "/src" * 3000 + "/x", b"")
        assert (await sandbox.run("ls /testbed")).output == b""

    inside(scenario)


def test_a_file_in_a_directory_that_only_some_components_of_its_path_lack():
    async def scenario(sandbox):
        await sandbox.run("mkdir /testbed/real; ln -s real /testbed/link")
        await sandbox.write_file("/testbed/link/new/./other/../x", b"through a link")
        assert await sandbox.read_file("/testbed/real/new/x") == b"through a link"

    inside(scenario)


def test_a_terminal_keeps_its_directory_and_variables_and_echoes_nothing():
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/testbed")
        await terminal.write(b"cd /tmp; fruit=fig\n")
        await terminal.write(b'echo "$PWD $fruit!"; echo END\n')
        assert await read_until(terminal, b"END\n") == b"/tmp fig!\nEND\n"

    inside(scenario)


def test_a_terminal_shows_the_prompt_that_the_caller_chose():
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/testbed", environment={"PS1": "<ready>"})
        assert await read_until(terminal, b"<ready>") == b"<ready>"

    inside(scenario)


def test_an_interrupt_ends_the_foreground_command_and_not_the_shell():
    assert b"ALIVE 130" in inside(interrupt_a_command)


def test_an_interrupt_overtakes_input_that_nobody_reads():
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b"echo BEGUN; sleep 60\n")
        await read_until(terminal, b"BEGUN")
        await until_in_front(sandbox, "sleep")
        await terminal.write(b"ignored\n" * 20_000)
        await asyncio.sleep(0.1)  # of what is on its way, some is taken
        await terminal.write(b"\x03")
        await terminal.write(b"echo ALIVE\n")
        assert b"ALIVE" in await read_until(terminal, b"ALIVE")

    inside(scenario)


@pytest.mark.parametrize("act", ["chmod 000 $(tty)", "rm -f $(tty)"])
def test_an_interrupt_reaches_a_terminal_whose_device_the_agent_took_away(act):
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(f"{act}; echo BEGUN; sleep 60\n".encode())
        await read_until(terminal, b"BEGUN")
        await until_in_front(sandbox, "sleep")
        await terminal.write(b"\x03")
        await terminal.write(b"echo ALIVE\n")
        assert b"ALIVE" in await read_until(terminal, b"ALIVE")

    inside(scenario)


def test_a_terminal_reads_input_and_its_end():
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b"cat; echo END\n")
        await terminal.write(b"typed\n\x04")
        assert await read_until(terminal, b"END\n") == b"typed\nEND\n"

    inside(scenario)


def test_a_shell_that_has_exited_reads_as_empty_for_ever():
    async def scenario(sandbox):
        terminal = await sandbox.open_terminal(working_directory="/")
        await terminal.write(b"echo bye; exit\n")
        assert b"bye\n" in await read_until(terminal, b"never")
        assert await terminal.read() == b""
        await terminal.write(b"too late\n")
        await terminal.close()

    inside(scenario)


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


def test_a_flood_of_output_stops_nothing_else():
    assert b"ALIVE" in inside(work_beside_a_flood)


def test_the_usual_tools_of_a_python_repository_work():
    async def scenario(sandbox):
        await sandbox.write_file(
            "/testbed/test_sum.py",
            b"import tempfile, threading, unittest, multiprocessing\n"
            b"class Test(unittest.TestCase):\n"
            b"    def test(self):\n"
            b"        tempfile.TemporaryFile().write(b'x')\n"
            b"        threading.Thread(target=print).start()\n"
            b"        multiprocessing.Lock()\n"
            b"        self.assertEqual(multiprocessing.Pool(2).map(abs, [-1, 2]), [1, 2])\n",
        )
        result = await sandbox.run("python3 -m unittest -q", working_directory="/testbed")
        assert result.exit_code == 0, result.output
        command = (
            "git init -q . && git add -A && git commit -qm one && echo x >> test_sum.py && git diff --stat"
        )
        result = await sandbox.run(f"command -v git || exit 0; {command}", working_directory="/testbed")
        assert result.exit_code == 0, result.output

    inside(scenario)


def test_the_agent_is_the_same_ordinary_user_wherever_it_runs():
    output = run(
        "id -u; id -un; whoami; hostname; touch /new 2>&1; python3 -c 'import os; print(os.environ)'"
    ).output
    assert output.startswith(b"1000\nagent\nagent\nsandbox\ntouch: ")
    for name in os.environ:
        if name.startswith(("PYTEST", "SSH", "VIRTUAL", "SUDO")):
            assert name.encode() not in output


def test_sixty_four_sandboxes_work_at_once():
    async def one(number):
        sandbox = BubblewrapSandbox()
        try:
            await sandbox.start()
            return (await sandbox.run(f"echo {number} > /tmp/file; sleep 0.2; cat /tmp/file")).output
        finally:
            await sandbox.stop()

    async def all_of_them():
        return await asyncio.gather(*(one(number) for number in range(64)))

    assert asyncio.run(all_of_them()) == [b"%d\n" % number for number in range(64)]


STARTS_AND_STOPS = """
import asyncio
from held_things import expect_nothing_more_than, held_at_rest, own_orphans
from turnmix.core.errors import SandboxError
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox

async def refused(awaitable):
    try:
        await awaitable
    except SandboxError:
        return True

async def one():
    sandbox = BubblewrapSandbox()
    await sandbox.stop()
    await sandbox.start()
    terminal = await sandbox.open_terminal(working_directory="/")
    await terminal.write(b"sleep 4321\\n")
    await sandbox.stop()
    await sandbox.stop()
    assert await refused(sandbox.run("true"))
    assert await refused(terminal.read())

async def scenario():
    own_orphans()
    await one()
    before = await held_at_rest()
    for _ in range(5):
        await one()
    await expect_nothing_more_than(before, "starts and stops")

asyncio.run(scenario())
"""


def test_start_and_stop_leave_no_process_and_no_open_descriptor():
    under_limit(STARTS_AND_STOPS, 256)


def test_a_command_whose_caller_is_cancelled_is_killed():
    async def scenario(sandbox):
        running = asyncio.ensure_future(sandbox.run("sleep 4321"))
        await asyncio.sleep(0.1)
        running.cancel()
        return await processes_without(sandbox, b"4321")

    assert b"4321" not in inside(scenario)


def test_the_wall_time_ends_the_sandbox_and_says_so():
    async def scenario(sandbox):
        with pytest.raises(SandboxLimitExceeded) as caught:
            await sandbox.run("sleep 60")
        assert caught.value.limit == "wall_seconds"
        with pytest.raises(SandboxLimitExceeded):
            await sandbox.read_file("/etc/passwd")

    inside(scenario, Limits(wall_seconds=0.4))


def test_a_sandbox_that_dies_from_outside_is_an_infrastructure_failure():
    async def scenario(sandbox):
        running = asyncio.ensure_future(sandbox.run("sleep 60"))
        await asyncio.sleep(0.1)
        sandbox._process.kill()
        with pytest.raises(SandboxError) as caught:
            await running
        assert not isinstance(caught.value, SandboxLimitExceeded)

    inside(scenario)


def test_an_interpreter_outside_the_system_directories_supervises_as_well():
    prefix = os.path.realpath(sys.base_prefix)
    executable = f"{prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = Interpreter(executable=executable, prefix=None if prefix.startswith("/usr") else prefix)
    sandbox = BubblewrapSandbox(interpreter=interpreter)
    assert inside(lambda sandbox: sandbox.run("echo yes"), sandbox=sandbox).output == b"yes\n"


def test_an_interpreter_that_is_not_there_is_said_at_the_start():
    async def scenario():
        with pytest.raises(SandboxError):
            await BubblewrapSandbox(interpreter=Interpreter(executable="/usr/bin/no-python")).start()

    asyncio.run(scenario())


def test_the_preflight_names_the_package_that_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingDependencyError, match="apt-get install bubblewrap"):
        BubblewrapSettings().check()
    UnsandboxedSettings().check()


def test_the_preflight_says_what_bwrap_says_when_namespaces_are_denied(monkeypatch, tmp_path):
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(MissingDependencyError, match="setting up uid map: Permission denied"):
        BubblewrapSettings().check()
