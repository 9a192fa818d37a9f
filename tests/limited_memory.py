"""A machine whose memory ends, for a test: this process may take so much more."""

import resource
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_for(num_bytes):
    """No more than so many bytes beside what this process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
