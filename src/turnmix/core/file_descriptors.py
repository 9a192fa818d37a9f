"""How many file descriptors this process may have open at once: `ulimit -n`.

In: the soft and the hard limit that the process was started with. Out: a soft limit as high as the hard one,
and words for what fails where there is none left. Sandboxes and servers get the limit that TurnMix was started with: a
program that looks at every descriptor that it might have, or that uses `select`, breaks under a higher one. Short-lived
tools of TurnMix's own (git, nvidia-smi) inherit the raised one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable

HIGHEST = 1 << 20
"""The kernel's own default for the most that any process may have; a container's hard limit may be a thousand times
as much, and means nothing."""
_given: list[int] = []


def raise_limit() -> Callable[[], None]:
    """Let this process have as many open as it is allowed to. Returns what takes that back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HIGHEST if hard == resource.RLIM_INFINITY else min(hard, HIGHEST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return lambda: None
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    _given.append(soft)

    def restore() -> None:
        _given.remove(soft)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return restore


def given_limit() -> int:
    """The soft limit that this process was started with, and that what it starts is to have."""
    return _given[0] if _given else resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_limit() -> int:
    """How many this process may have open at once."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return HIGHEST if soft == resource.RLIM_INFINITY else soft


def num_open() -> int:
    """How many it has."""
    return len(os.listdir("/proc/self/fd")) - 1 if os.path.isdir("/proc/self/fd") else 0


def shortage(error: BaseException | None) -> str | None:
    """What to do about an error that comes of having no descriptor left; None: it comes of something else.

    >>> print(shortage(OSError(errno.ENFILE, "Too many open files in system")))
    this machine has no file descriptor left (sysctl fs.file-max): raise it, or end another program
    """
    number = _number_of(error, set())
    if number == errno.ENFILE:
        return (
            "this machine has no file descriptor left (sysctl fs.file-max): raise it, or end another program"
        )
    if number != errno.EMFILE:
        return None
    return (
        f"this process has no file descriptor left ({limit_text()}): raise it, or lower rollouts.concurrency"
    )


def limit_text() -> str:
    """The limit by the name that a shell knows it by."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    told = "no hard limit" if hard == resource.RLIM_INFINITY else f"hard limit {hard:,}"
    return f"ulimit -n is {open_limit():,}, {told}"


def _number_of(error: object, seen: set[int]) -> int | None:
    """ENFILE or EMFILE, of an error or of one that it was made of."""
    if not isinstance(error, BaseException) or id(error) in seen:
        return None
    seen.add(id(error))
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return error.errno
    causes = (error.__cause__, error.__context__, *error.args, *getattr(error, "exceptions", ()))
    return next((number for cause in causes if (number := _number_of(cause, seen)) is not None), None)
