"""What a user of any sandbox does in it: both kinds are tested with the same ones."""

import asyncio
import time

SECONDS = 60.0
"""For what comes by itself, also on a busy machine."""
PROCESSES = "for f in /proc/[0-9]*/cmdline; do cat $f; echo; done 2>/dev/null | cat -v"


async def read_until(terminal, marker):
    output = b""
    while marker not in output:
        piece = await asyncio.wait_for(terminal.read(), SECONDS)
        if not piece:
            break
        output += piece
    return output


async def processes(sandbox):
    """The command lines of all processes inside."""
    return (await sandbox.run(PROCESSES)).output.replace(b"^@", b" ")


async def processes_without(sandbox, word):
    """The same once none holds `word`: what was killed may take a moment to go."""
    deadline = time.monotonic() + SECONDS
    while word in (seen := await processes(sandbox)) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return seen


async def until_runs(sandbox, word):
    """Wait until a process has `word` in its command line."""
    deadline = time.monotonic() + SECONDS
    while word not in (seen := await processes(sandbox)):
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.02)


async def few_processes(sandbox, number):
    """Wait until there are fewer than `number`, of which some were killed and some take room for this to run in."""
    deadline = time.monotonic() + SECONDS
    while True:
        counted = (await sandbox.run("ls /proc | grep -c '^[0-9]'")).output.strip()
        if counted.isdigit() and int(counted) < number:
            return
        assert time.monotonic() < deadline, counted
        await asyncio.sleep(0.05)


async def until_in_front(sandbox, program):
    """Wait until a shell has handed its terminal to `program`, which is then what an interrupt reaches."""
    deadline = time.monotonic() + SECONDS
    while True:
        for line in (await sandbox.run("cat /proc/[0-9]*/stat 2>/dev/null")).output.splitlines():
            name, _, fields = line.partition(b"(")[2].rpartition(b")")
            if (
                name == program.encode() and fields.split()[2] == fields.split()[5]
            ):  # its group, its terminal's
                return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def run_past_its_time(sandbox, command, *, num_bytes=1, **options):
    """What a command comes to that prints so much and is then killed at its time-out, and for how long it ran."""
    for timeout in (0.5, 5.0, SECONDS):  # a busy machine may need longer until it prints
        began = time.monotonic()
        result = await sandbox.run(command, timeout=timeout, **options)
        if len(result.output) >= num_bytes:
            break
    return result, time.monotonic() - began


async def interrupt_a_command(sandbox):
    """What the shell prints after its foreground command was interrupted."""
    terminal = await sandbox.open_terminal(working_directory="/")
    await terminal.write(b"echo BEGUN; sleep 60\n")
    await read_until(terminal, b"BEGUN")
    await until_in_front(sandbox, "sleep")
    await terminal.write(b"\x03")
    await terminal.write(b"echo ALIVE $?\n")
    return await read_until(terminal, b"ALIVE 130")


async def work_beside_a_flood(sandbox):
    """A terminal and a command write without end while files come and go; what an interrupted terminal says."""
    terminal = await sandbox.open_terminal(working_directory="/")
    await terminal.write(b"yes\n")
    flood = asyncio.ensure_future(sandbox.run("yes | head -c 8000000"))
    for number in range(10):
        await sandbox.write_file("/testbed/file", b"%d" % number)
        assert await sandbox.read_file("/testbed/file") == b"%d" % number
    assert len((await flood).output) == 8_000_000
    for _ in range(50):
        assert await terminal.read()
    await terminal.write(b"\x03")
    await terminal.write(b"echo ALIVE\n")
    return await read_until(terminal, b"ALIVE")
