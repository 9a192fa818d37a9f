r"""What a shell is given to type for one command, and the reports that this line makes.

In: a command of any bytes. Out: one line of input that every POSIX shell takes, and the reports in its output.
The command may change whatever a report is made of (PS1, the descriptors, a function called `eval`), so each
report says how far its line came, and one goes to the terminal itself, past the prompt.

    >>> output = b"hi\n" + f"{MARKER}7:3:/tmp:c{MARKER}".encode()
    >>> found = find_report(output)
    >>> found.report.number, found.report.code, found.report.directory, found.report.step.name, found.start
    (7, 3, '/tmp', 'completed', 3)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

# Always the same, so that a repeated trajectory reads the same. It guards against accident alone: an agent
# that prints it on purpose deceives nobody but itself.
MARKER = "#turnmix-7f3a#"
_CODE = "turnmix_code"
_START = MARKER.encode()
_REPORT = re.compile(_START + rb"(\d{1,9}):(\d{1,3}):(|[^$].*?):([abcde])" + _START, re.DOTALL)
_HALF_REPORT = re.compile(_START + rb"(\d{0,9}|\d{1,9}:\d{0,3}|\d{1,9}:\d{1,3}:([^$].*)?)\Z", re.DOTALL)
_LONGEST_REPORT = 8192
_LINE_BYTES = 512
"""Of a typed line before quoting, which may make it four times as long; terminals cut lines at 4096."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_ASKS_FOR_CODE = re.compile(rb"\$\{?\?")


class Step(bytes, Enum):
    """How far a typed line had come when it reported."""

    asked = b"a"  # the command was not begun
    begun = b"b"
    completed = b"c"
    moved = b"d"  # completed, and standard output no longer leads to the terminal
    ended = b"e"  # said at the command's end, past the prompt, which is to follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    number: int
    """Of the line that made it."""
    code: int
    directory: str
    """As the shell's PWD has it, which the agent can set to anything."""
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundReport:
    report: Report
    start: int
    end: int


def prompt(number: int, step: Step, *, code: str = "$?", directory: str = "${PWD-}") -> str:
    """A report before the shell has expanded it."""
    return f"{MARKER}{number}:{code}:{directory}:{step.value.decode()}{MARKER}"


def typed_line(command: bytes, *, number: int, last_code: int) -> bytes:
    """The input that runs `command`; `last_code` is what `$?` is to be at its beginning."""
    # PS1 is set before, so that an interrupt, which drops the rest of the line, is reported; and after,
    # because the command may have changed it. It is set by `eval` too, which tells that `eval` works. No command
    # of the line can be an alias.
    asked, begun = (prompt(number, step) for step in (Step.asked, Step.begun))
    ended = prompt(number, Step.ended, code=f"${_CODE}")
    completed = prompt(number, Step.completed, code=f"${_CODE}", directory="\\${PWD-}")
    # A line that did not begin its command leaves PS1 as it was. The rest may use no function of the agent's,
    # and needs no process, for there may be no room for one. It is short, for shells read it byte by byte. Where
    # it cannot be redirected (`ulimit -n 3`, `set -r`), PS1 tells that much.
    after = (
        f"{{ {_CODE}=$?; case ${{PS1-}} in *:a#*) ;; *) \\unset -f printf [ >&2; "
        f'\\printf %s "{ended}" >/dev/tty || \\:; PS2=; PROMPT_COMMAND=; PS1="{completed}"; '
        f'\\[ -t 1 ] || \\[ ! -t 0 ] || \\[ -p /dev/fd/1 ] || PS1="${{PS1%c#*}}d{MARKER}";; esac; }} '
        f'2>/dev/null || PS1="${{PS1%b#*}}d{MARKER}"'
    )
    code = b" (exit %d);" % last_code if last_code and _ASKS_FOR_CODE.search(command) else b""
    return b"PS1='%b'; \\eval \"PS1='%b'\";%b \\eval %b; %b\n" % (
        asked.encode(),
        _escaped(begun).encode(),
        code,
        _typed(command),
        after.encode(),
    )


def find_report(output: bytes) -> FoundReport | None:
    """The first one."""
    match = _REPORT.search(output)
    if match is None:
        return None
    report = Report(
        number=int(match[1]),
        code=int(match[2]),
        directory=match[3].decode("utf-8", "replace"),
        step=Step(match[4]),
    )
    return FoundReport(report=report, start=match.start(), end=match.end())


def without_reports(output: bytes) -> bytes:
    return _REPORT.sub(b"", output)


def possible_report(data: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of a report.

    >>> possible_report(b"Password: "), possible_report(b"abc#turn"), possible_report(_START + b"1:0:/wor")
    (0, 5, 22)
    """
    window = data[-_LONGEST_REPORT:]
    if started := _HALF_REPORT.search(window):
        return len(window) - started.start()
    return next((length for length in range(len(_START) - 1, 0, -1) if data.endswith(_START[:length])), 0)


def without_own_lines(text: str) -> str:
    """Output without the lines that show what the scaffold itself typed or set (of `env`, `set`, `set -x`)."""
    if MARKER not in text and _CODE not in text:
        return text
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if MARKER not in line and not line.startswith(f"{_CODE}="))


def _typed(command: bytes) -> bytes:
    r"""`command` as one word that can be typed at any terminal, whatever bytes but NUL are in it.

    >>> print(_typed(b"echo 'hi' there").decode())
    'echo '\''hi'\'' there'
    >>> print(_typed(b"echo \\ \x03").decode())
    "$(\unset -f printf >/dev/null; \printf %b 'echo \\ \0003')"
    """
    if not _CONTROL.search(command):
        return _quoted(command)
    # What the terminal would take for a key travels as an escape sequence.
    escaped = _CONTROL.sub(lambda match: b"\\0%03o" % ord(match[0]), command.replace(b"\\", b"\\\\"))
    return b'"$(\\unset -f printf >/dev/null; \\printf %b ' + _quoted(escaped) + b')"'


def _escaped(text: str) -> str:
    """`text` as it may stand in double quotes."""
    return text.replace("$", "\\$")


def _quoted(text: bytes) -> bytes:
    """`text` as one shell word, in short lines: an escaped newline between two quoted parts joins them."""
    pieces = (text[start : start + _LINE_BYTES] for start in range(0, len(text), _LINE_BYTES))
    return b"\\\n".join(b"'" + piece.replace(b"'", b"'\\''") + b"'" for piece in pieces)
