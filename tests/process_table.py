"""What the kernel tells of processes of this machine."""

from pathlib import Path


def is_running(pid):
    """A zombie, which nobody here waits for, is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
