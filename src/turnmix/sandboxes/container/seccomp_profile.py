"""The system call filter of a container, as a runtime reads it.

In: the tables of `turnmix.sandboxes.seccomp`. Out: a profile in JSON. Memory that no process holds is counted
by a container's cgroup, and so allowed, but for what the whole machine has a fixed number of. Calls of 32-bit
programs have other numbers; they are none of the profile's, and end the program.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.sandboxes.seccomp import ARGUMENTS, PRIVILEGED, UNNEEDED, ArgumentRule

MACHINE_WIDE = ("io_setup", "memfd_secret")
ARGUMENTS_TO_CHECK = ("socket", "socketpair", "clone", "ioctl", "mmap")
"""Of the rules by arguments those that hold also for root, whose every process may set the others' limits."""
OF_PROCESS = {"ptrace": 1, "process_vm_readv": 0, "process_vm_writev": 0, "prlimit64": 0}
"""Calls, and which argument is the process that they lay hands on: with them process 1 could be killed."""
LOWER_HALF = (1 << 32) - 1
"""Of a 64-bit argument; the kernel reads no more of those that rules are about."""


@lru_cache
def seccomp_profile() -> str:
    rules = [
        _refused(UNNEEDED, errno.ENOSYS),
        _refused(MACHINE_WIDE, errno.ENOSYS),
        _refused(PRIVILEGED, errno.EPERM),
    ]
    for rule in ARGUMENTS:
        if rule.call in ARGUMENTS_TO_CHECK:
            rules += [_refused((rule.call,), rule.error, argument) for argument in _arguments(rule)]
    for call, index in OF_PROCESS.items():
        rules.append(_refused((call,), errno.EPERM, _equal(index, LOWER_HALF, 1)))
    return json_text({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})


def _refused(calls: Iterable[str], error: int, argument: dict[str, Any] | None = None) -> dict[str, Any]:
    arguments = [] if argument is None else [argument]
    return {"names": list(calls), "action": "SCMP_ACT_ERRNO", "errnoRet": error, "args": arguments}


def _arguments(rule: ArgumentRule) -> Iterator[dict[str, Any]]:
    """Each of which makes the call fail.

    >>> rule = ArgumentRule(call="f", numbers=(1, 1), index=0, fails="other", values=(0, 2), error=1)
    >>> [(argument["op"], argument["value"]) for argument in _arguments(rule)]
    [('SCMP_CMP_EQ', 1), ('SCMP_CMP_GT', 2)]
    """
    if rule.fails == "other":
        most = max(rule.values)
        for value in set(range(most)) - set(rule.values):
            yield {"index": rule.index, "op": "SCMP_CMP_EQ", "value": value, "valueTwo": 0}
        yield {"index": rule.index, "op": "SCMP_CMP_GT", "value": most, "valueTwo": 0}
        return
    bits = [1 << place for place in range(32)]
    for value in rule.values:
        masks = [bit for bit in bits if bit & value] if rule.fails == "bits" else [LOWER_HALF]
        for mask in masks:
            yield _equal(rule.index, mask, value & mask)


def _equal(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}
