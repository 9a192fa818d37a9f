"""A system call filter for what namespaces and rlimits leave open.

In: nothing. Out: the tables, and of them a classic BPF program, empty on a machine it has no numbers for.

- UNCOUNTED: memory that belongs to no process and no file system, so that no limit but a memory cgroup counts
  it; and what the whole machine has a fixed number of.
- UNNEEDED: parts of the kernel that no repository's tests need and that often had holes.
- PRIVILEGED: what a process inside has no right to, refused before the kernel looks closer.
- ARGUMENTS: calls that are refused with certain arguments. Of a 64-bit argument the kernel reads the lower half
  alone, and so does the filter.
"""

from __future__ import annotations

import errno
import functools
import platform
import struct
from dataclasses import dataclass
from typing import Literal

# name: (x86_64, aarch64), from the kernel's system call tables; None: there is none.
Numbers = tuple[int | None, int | None]
UNCOUNTED: dict[str, Numbers] = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "vmsplice": (278, 75),
    "io_setup": (206, 0),
}
UNNEEDED: dict[str, Numbers] = {
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "sysfs": (139, None),
    "ustat": (136, None),
    "clone3": (435, 435),  # its flags lie in memory, where no filter sees them; libraries then use clone
}
PRIVILEGED: dict[str, Numbers] = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentRule:
    """A call that fails with `error` where its argument number `index` …"""

    call: str
    numbers: Numbers
    index: int
    fails: Literal["equal", "other", "bits"]
    """equal: is one of `values`; other: is none of them; bits: has a bit of them."""
    values: tuple[int, ...]
    error: int
    """0: the call does nothing, and says that all is well."""
    where: tuple[int, int] | None = None
    """… in calls alone whose argument of this number has this value."""


NAMESPACES = 0x7E020000
"""The flags of `clone` that make namespaces."""
ADDRESS_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
TYPING = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCSETD": 0x5423}
"""Typing into a terminal, or having a driver read along."""
F_SETPIPE_SZ = 1031
SOL_SOCKET = 1
BUFFER_SIZES = {"SO_SNDBUF": 7, "SO_RCVBUF": 8, "SO_SNDBUFFORCE": 32, "SO_RCVBUFFORCE": 33}
MAP_HUGETLB = 0x40000


def _only_for_itself(call: str, numbers: Numbers, index: int = 0) -> ArgumentRule:
    """The supervisor has the agent's user id: a process may set its own limits and scheduling alone."""
    return ArgumentRule(
        call=call, numbers=numbers, index=index, fails="other", values=(0,), error=errno.EPERM
    )


def _families(call: str, numbers: Numbers) -> ArgumentRule:
    families = tuple(ADDRESS_FAMILIES.values())
    return ArgumentRule(
        call=call, numbers=numbers, index=0, fails="other", values=families, error=errno.EAFNOSUPPORT
    )


ARGUMENTS = (
    _families("socket", (41, 198)),
    _families("socketpair", (53, 199)),
    ArgumentRule(
        call="clone", numbers=(56, 220), index=0, fails="bits", values=(NAMESPACES,), error=errno.EPERM
    ),
    ArgumentRule(
        call="ioctl",
        numbers=(16, 29),
        index=1,
        fails="equal",
        values=tuple(TYPING.values()),
        error=errno.EPERM,
    ),
    ArgumentRule(
        call="fcntl", numbers=(72, 25), index=1, fails="equal", values=(F_SETPIPE_SZ,), error=errno.EPERM
    ),
    ArgumentRule(  # what a socket may hold is then known; a program asks for more to be faster, not to work
        call="setsockopt",
        numbers=(54, 208),
        where=(1, SOL_SOCKET),
        index=2,
        fails="equal",
        values=tuple(BUFFER_SIZES.values()),
        error=0,
    ),
    ArgumentRule(
        call="mmap", numbers=(9, 222), index=3, fails="bits", values=(MAP_HUGETLB,), error=errno.ENOMEM
    ),
    _only_for_itself("prlimit64", (302, 261)),
    _only_for_itself("sched_setaffinity", (203, 122)),
    _only_for_itself("sched_setscheduler", (144, 119)),
    _only_for_itself("sched_setparam", (142, 118)),
    _only_for_itself("sched_setattr", (314, 274)),
    _only_for_itself("setpriority", (141, 140), 1),
    _only_for_itself("ioprio_set", (251, 30), 1),
)
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
X32_BIT = 0x40000000

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_IF_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000


@functools.lru_cache
def seccomp_filter() -> bytes:
    """The program, as the kernel reads it."""
    if platform.machine() not in ARCHITECTURES:
        return b""
    column, audit_number = ARCHITECTURES[platform.machine()]
    # A 32-bit call has other numbers: there is no such call.
    program = [
        _instruction(LOAD, 4),
        _instruction(JUMP_EQUAL, audit_number, 1, 0),
        _instruction(RETURN, FAIL | errno.ENOSYS),
        _instruction(LOAD, 0),
        _instruction(JUMP_AT_LEAST, X32_BIT, 0, 1),
        _instruction(RETURN, FAIL | errno.ENOSYS),
    ]
    for calls, error in ((UNCOUNTED, errno.ENOSYS), (UNNEEDED, errno.ENOSYS), (PRIVILEGED, errno.EPERM)):
        for numbers in calls.values():
            if (number := numbers[column]) is not None:
                program += [_instruction(JUMP_EQUAL, number, 0, 1), _instruction(RETURN, FAIL | error)]
    for rule in ARGUMENTS:
        if (number := rule.numbers[column]) is not None:
            block = _block(rule)
            program += [_instruction(JUMP_EQUAL, number, 0, len(block)), *block]
    return b"".join([*program, _instruction(RETURN, ALLOW)])


def _block(rule: ArgumentRule) -> list[bytes]:
    """What decides a call that is the rule's."""
    met, unmet = FAIL | rule.error, ALLOW
    if rule.fails == "other":
        met, unmet = unmet, met
    jump = JUMP_IF_BITS if rule.fails == "bits" else JUMP_EQUAL
    block = []
    if rule.where is not None:
        index, value = rule.where
        block = [_load(index), _instruction(JUMP_EQUAL, value, 1, 0), _instruction(RETURN, ALLOW)]
    block.append(_load(rule.index))
    for value in rule.values:
        block += [_instruction(jump, value, 0, 1), _instruction(RETURN, met)]
    return [*block, _instruction(RETURN, unmet)]


def _load(index: int) -> bytes:
    """The lower half of an argument."""
    return _instruction(LOAD, 16 + 8 * index)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
