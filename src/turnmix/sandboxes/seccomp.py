"""A small system call filter for what namespaces and rlimits leave open.

Enters: nothing. Leaves: a classic BPF program for `bwrap --seccomp`, empty on a machine it has no numbers
for.

- Memory that belongs to no process and no file system, so that no limit counts it: memfd, System V.
- Changing another process's limits or scheduling: the supervisor has the agent's user id.
- Parts of the kernel that no repository's tests need and that often had holes: io_uring, bpf, keyrings,
  userfaultfd.
"""

from __future__ import annotations

import errno
import platform
import struct

# name: (x86_64, aarch64), from the kernel's syscall tables.
REFUSED = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
# name: (x86_64, aarch64, which argument is a pid that must be 0: the caller itself).
ONLY_FOR_ITSELF = {
    "prlimit64": (302, 261, 0),
    "sched_setaffinity": (203, 122, 0),
    "sched_setscheduler": (144, 119, 0),
    "sched_setparam": (142, 118, 0),
    "sched_setattr": (314, 274, 0),
    "setpriority": (141, 140, 1),
    "ioprio_set": (251, 30, 1),
}
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
X32_BIT = 0x40000000

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000


def seccomp_filter() -> bytes:
    """The program, as the kernel reads it."""
    if platform.machine() not in ARCHITECTURES:
        return b""
    column, audit_number = ARCHITECTURES[platform.machine()]
    no_such_call = FAIL | errno.ENOSYS
    # A 32-bit call has other numbers: there is no such call.
    program = [
        _instruction(LOAD, 4),
        _instruction(JUMP_EQUAL, audit_number, 1, 0),
        _instruction(RETURN, no_such_call),
        _instruction(LOAD, 0),
        _instruction(JUMP_AT_LEAST, X32_BIT, 0, 1),
        _instruction(RETURN, no_such_call),
    ]
    for numbers in REFUSED.values():
        program += [_instruction(JUMP_EQUAL, numbers[column], 0, 1), _instruction(RETURN, no_such_call)]
    for call in ONLY_FOR_ITSELF.values():
        argument = call[2]
        program += [
            _instruction(JUMP_EQUAL, call[column], 0, 4),
            _instruction(LOAD, 16 + 8 * argument),
            _instruction(JUMP_EQUAL, 0, 0, 1),
            _instruction(RETURN, ALLOW),
            _instruction(RETURN, FAIL | errno.EPERM),
        ]
    return b"".join([*program, _instruction(RETURN, ALLOW)])


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
