"""The command line in a process of its own, and how much memory that process held at most."""

# Of the kernel's counts this one alone begins anew with the program: the others know what a parent that forked held.
MAIN = """
import atexit, sys
from pathlib import Path
def write_peak():
    status = Path("/proc/self/status").read_text()
    Path("peak").write_text(status.split("VmHWM:")[1].split()[0])
atexit.register(write_peak)
from turnmix.cli import main
sys.exit(main())
"""


def peak_bytes(folder):
    """Of the last process that ran `MAIN` in `folder`."""
    return int((folder / "peak").read_text()) << 10
