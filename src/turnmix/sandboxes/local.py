"""NO SANDBOX: commands run on this machine as this user.

Whatever the agent types can read, change and delete what you can, use your network, and start what outlives
the run. Choose it by name (`kind: none`) only inside a machine or container that you can lose; nothing falls
back to it.

In: limits, of which the file size, the memory of each single process, the wall time, and the memory of all
where there are memory cgroups, alone are held.
Out: a "sandbox" whose paths lie in a temporary directory of the host: `read_file`, `write_file` and
`working_directory` take /testbed/x for <directory>/testbed/x. A command that names /testbed itself does not
find it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from typing import Any

from turnmix.core.child_environment import child_environment
from turnmix.sandboxes.bubblewrap import HOME, WORKSPACE
from turnmix.sandboxes.supervised import SupervisedSandbox
from turnmix.sandboxes.supervisor_code import BOOTSTRAP

STOP_SECONDS = 10.0


class UnsandboxedSandbox(SupervisedSandbox):
    """Isolates nothing. Its processes and its directory are gone at the end, if they did not try to stay."""

    root: str = ""

    def _configuration(self) -> dict[str, Any]:
        return {
            "root": os.fsencode(self.root),
            "user": None,
            "has_users": False,
            "owned": (),
            "filter": b"",
            "socket_bytes": 0,
            "environment": {
                **{name: value for name, value in os.environb.items() if name in (b"PATH", b"LANG")},
                b"HOME": os.fsencode(self.root + HOME),
                b"TERM": b"dumb",
                b"PAGER": b"cat",
                b"PYTHONDONTWRITEBYTECODE": b"1",
                b"PYTHONHASHSEED": b"0",
            },
            "file_systems": (),
        }

    async def _launch(
        self, socket_descriptor: int, diagnostics: int, until_over: contextlib.ExitStack
    ) -> tuple[subprocess.Popen[bytes], int]:
        self.root = tempfile.mkdtemp(prefix="turnmix-unsandboxed-")
        for directory in (WORKSPACE, HOME, "/tmp"):
            os.makedirs(self.root + directory)
        process = subprocess.Popen(  # noqa: ASYNC220 (it waits for the exec alone)
            [self._interpreter.executable, "-I", "-S", "-c", BOOTSTRAP],
            stdin=socket_descriptor,
            stdout=diagnostics,
            stderr=diagnostics,
            env=child_environment(),  # commands can read the environment of what started them
            start_new_session=True,
        )
        return process, process.pid

    def _end_supervisor(self) -> None:
        """Nothing: when the connection ends, the supervisor kills its children and removes its files."""

    async def stop(self) -> None:
        patience = asyncio.get_running_loop().call_later(STOP_SECONDS, super()._end_supervisor)
        await super().stop()
        patience.cancel()
        if self.root:  # a supervisor that never began removed nothing
            shutil.rmtree(self.root, ignore_errors=True)
