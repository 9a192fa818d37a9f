"""What a user of any sandbox does in it: both kinds are tested with the same ones."""

import asyncio


async def read_until(terminal, marker):
    output = b""
    while marker not in output:
        piece = await asyncio.wait_for(terminal.read(), 60)
        if not piece:
            break
        output += piece
    return output


async def interrupt_a_command(sandbox):
    """What the shell prints after its foreground command was interrupted."""
    terminal = await sandbox.open_terminal(working_directory="/")
    await terminal.write(b"echo BEGUN; sleep 60\n")
    await read_until(terminal, b"BEGUN")
    await asyncio.sleep(0.2)  # until the shell has handed the terminal to `sleep`
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
