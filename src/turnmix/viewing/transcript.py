"""One trajectory as a person reads it: who acted each turn, the label where it differs, observations folded.

In: a trajectory. Out: lines of at most `width` columns, each with its part, which a terminal may colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from turnmix.core.json_text import json_text
from turnmix.core.message import Message
from turnmix.core.opening import Opening
from turnmix.core.printable import printable, printable_line
from turnmix.core.trajectory import Action, Trajectory, Turn
from turnmix.core.verdict import Verdict
from turnmix.viewing.openings import opening_text, repeated_text, turn_marks

Part = Literal["head", "student", "teacher", "accident", "action", "label", "observation", "problem", "text"]

_FOLDED_TO = 8
_NO_FOLD = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a transcript."""

    part: Part
    text: str


def transcript(trajectory: Trajectory, *, width: int = 80, is_full: bool = False) -> list[Line]:
    """The lines of a whole trajectory. `is_full`: nothing is folded."""
    writer = _Writer(width=width, longest=_NO_FOLD if is_full else _FOLDED_TO)
    return [
        *writer.header(trajectory),
        *(line for message in trajectory.prompt for line in writer.prompt(message)),
        *(line for number, turn in enumerate(trajectory.turns, 1) for line in writer.turn(number, turn)),
        *writer.ending(trajectory),
    ]


def differs(label: Action | None, executed: Action) -> bool:
    """Would the teacher have done something else? The calls' ids do not count, nor words beside a call."""
    return label is not None and _essence(label) != _essence(executed)


def outcome(trajectory: Trajectory) -> str:
    """How it ended, in a word or two."""
    if trajectory.verdict is None:
        return "not judged"
    if trajectory.verdict.resolved:
        return "resolved"
    return "unresolved" if trajectory.submitted else "not submitted"


def verdict_text(verdict: Verdict) -> str:
    """What a verdict says beside `resolved`, but for texts of several lines.

    >>> verdict_text(Verdict(resolved=False, reward=0.5, details={"failed": 1, "won": False, "seen": ["a", "b"]}))
    'reward 0.5, failed 1, won no, seen a b'
    """
    told = {"reward": verdict.reward, **verdict.details} if verdict.reward is not None else verdict.details
    return ", ".join(f"{name} {_value_text(value)}" for name, value in told.items() if not _is_long(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    width: int
    longest: int
    """Lines of a text before it is folded."""

    def header(self, trajectory: Trajectory) -> Iterator[Line]:
        beta = "" if trajectory.beta is None else f", β {trajectory.beta:.2f}"
        yield from self._wrapped("head", printable_line(f"{trajectory.id}  {trajectory.task_id}"), "")
        teacher = sum(turn.actor == "teacher" for turn in trajectory.turns)
        accidents = sum(turn.actor == "accident" for turn in trajectory.turns)
        student = len(trajectory.turns) - teacher - accidents
        befell = {0: "", 1: " and an accident"}.get(accidents, f" and {accidents} accidents")
        yield from self._wrapped(
            "text",
            f"{outcome(trajectory)}: {trajectory.stop_reason.value} after {student} student "
            f"and {teacher} teacher turns{befell}; iteration {trajectory.iteration}{beta}",
            "",
        )

    def prompt(self, message: Message) -> Iterator[Line]:
        yield Line(part="text", text="")
        yield from self._wrapped("head", printable_line(message.role), "")
        yield from self._message("text", message, "  ")

    def opening(self, opening: Opening) -> Iterator[Line]:
        yield Line(part="text", text="")
        yield from self._wrapped("head", printable_line(opening_text(opening)), "")
        for each in opening.messages:
            if isinstance(each, int):
                yield Line(part="text", text=f"  {repeated_text(each)}")
            else:
                yield from self.prompt(each)

    def turn(self, number: int, turn: Turn) -> Iterator[Line]:
        if turn.opening is not None:
            yield from self.opening(turn.opening)
        yield Line(part="text", text="")
        agrees = "" if turn.actor == "teacher" or turn.label is None else "  = teacher"
        if differs(turn.label, turn.action):
            agrees = "  ≠ teacher"
        parts = (f"turn {number}", f"{turn.actor}{agrees}", *turn_marks(turn))
        yield Line(part=turn.actor, text=printable_line("  ".join(parts)))
        yield from self._action("action", turn.action, "  ")
        if turn.label is not None and differs(turn.label, turn.action):
            yield Line(part="label", text="  the teacher would have done")
            yield from self._action("label", turn.label, "    ")
        for message in turn.observation:
            yield from self._message("observation", message, "  │ ")

    def ending(self, trajectory: Trajectory) -> Iterator[Line]:
        yield Line(part="text", text="")
        if trajectory.error is not None:
            yield from self._wrapped("problem", printable_line(f"infra_error: {trajectory.error}"), "")
        if trajectory.verdict is not None:
            said = verdict_text(trajectory.verdict)
            ended = f"{outcome(trajectory)}: {said}" if said else outcome(trajectory)
            yield from self._wrapped("head", printable_line(ended), "")
            for name, value in trajectory.verdict.details.items():
                if _is_long(value):
                    yield from self._wrapped("text", printable_line(f"{name}:"), "  ")
                    yield from self._folded("text", value, "    ")

    def _action(self, part: Part, action: Action, indent: str) -> Iterator[Line]:
        if not action.message.content and not action.message.tool_calls:
            yield from self._folded(part, "(says nothing)", indent)
        yield from self._message(part, action.message, indent)
        if action.parse_error is not None:
            yield from self._wrapped("problem", printable_line(f"malformed: {action.parse_error}"), indent)

    def _message(self, part: Part, message: Message, indent: str) -> Iterator[Line]:
        if message.content:
            yield from self._folded(part, message.content, indent)
        for call in message.tool_calls:
            yield from self._wrapped(part, printable_line(call.name), indent)
            for name, value in call.arguments.items():
                text = value if isinstance(value, str) else repr(value)
                name = printable_line(name)
                if "\n" in text:
                    yield from self._wrapped(part, f"{name}:", f"{indent}  ")
                    yield from self._folded(part, text, f"{indent}    ")
                else:
                    yield from self._wrapped(part, f"{name}: {text}", f"{indent}  ")

    def _folded(self, part: Part, text: str, indent: str) -> Iterator[Line]:
        text = text.replace("\r\n", "\n").strip("\n")
        lines = text.split("\n") if text else []
        hidden = len(lines) - self.longest
        # Hiding one line would take one line.
        shown = lines if hidden <= 1 else lines[: self.longest // 2]
        yield from self._lines(part, shown, indent)
        if hidden > 1:
            yield from self._wrapped(part, f"… {hidden} more lines", indent)
            yield from self._lines(part, lines[len(lines) - self.longest // 2 :], indent)

    def _lines(self, part: Part, lines: Sequence[str], indent: str) -> Iterator[Line]:
        for line in lines:
            yield from self._wrapped(part, line, indent)

    def _wrapped(self, part: Part, text: str, indent: str) -> Iterator[Line]:
        # What stands at the very left is ours: the rest of a long line does not.
        further = indent or "  "
        for piece in printable(text).split("\n"):
            wrapped = textwrap.wrap(
                piece,
                self.width,
                initial_indent=indent,
                subsequent_indent=further,
                drop_whitespace=False,
                replace_whitespace=False,
                expand_tabs=False,
            )
            for line in wrapped or [""]:
                yield Line(part=part, text=line.rstrip())


def _essence(action: Action) -> object:
    calls = [(call.name, dict(call.arguments)) for call in action.message.tool_calls]
    return calls or action.message.content.strip()


def _is_long(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and "\n" in value


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(member, str) for member in value):
        return " ".join(value) or "none"
    return value if isinstance(value, str) else json_text(value)
