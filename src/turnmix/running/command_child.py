"""Runs one `turnmix` command, and stops it once whoever asked for it is gone.

In: where modules are found, and the words of a command; a standard input that stays open as long as the command is
wanted, which the kernel closes when the other end dies, however it dies. Out: the command's exit status. It is run as
a file.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def main(path: str, words: list[str]) -> None:
    """Run the command `words`; `path`: what `sys.path` is to be."""
    sys.path[:] = path.split(os.pathsep)
    wanted = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_stop_unless_wanted, args=(wanted,), daemon=True).start()
    sys.argv[:] = ["turnmix", *words]
    runpy.run_module("turnmix", run_name="__main__")


def _stop_unless_wanted(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    # As Ctrl-C: what is under way is stored, and the sandboxes end.
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
