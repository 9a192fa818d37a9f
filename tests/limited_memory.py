"""A machine whose memory ends, for a test: this process may take so much more."""

import resource
from contextlib import contextmanager, suppress
from pathlib import Path

SIZES = [1 << power for power in range(25, 14, -1)]


@contextmanager
def memory_for(num_bytes):
    """No more than so many bytes beside what this process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held, before[1]))
    hoard = []  # what earlier tests gave back is this process's still, and would be used first
    try:
        for size in SIZES:
            with suppress(MemoryError):
                while True:
                    hoard.append(bytearray(size))
        resource.setrlimit(resource.RLIMIT_AS, (held + num_bytes, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
