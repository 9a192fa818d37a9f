"""Trajectories as the page holds them: a short row of each for the list, and what is read when one is opened.

In: trajectories, with the run and the set that they are of. Out: JSON values. All texts lie once in one list, and what
is opened names them by their places, since prompts and observations repeat. Texts are printable, and long ones are cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnmix.core.json_text import json_text
from turnmix.core.message import Message
from turnmix.core.printable import printable, printable_line
from turnmix.core.trajectory import Action, Trajectory, Turn
from turnmix.viewing.openings import opening_text, repeated_text, turn_marks
from turnmix.viewing.transcript import differs, outcome, verdict_text

LONGEST_TEXT = 20_000
"""Characters of one text: what is longer is shown by its beginning and its end."""


class TrajectoryRecords:
    """What was added, as two JSON values that the page reads apart: the first at once, the second when it needs it."""

    def __init__(self) -> None:
        self._rows: list[list[Any]] = []
        self._bodies: list[dict[str, Any]] = []
        self._texts: dict[str, int] = {}
        """As they were written, and their places."""
        self._shown: list[str] = []
        self._names: dict[str, int] = {}
        self.num_turns = 0
        self.num_cut = 0
        """Texts that were cut."""

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> frozenset[str]:
        """By which the page's address names one."""
        return frozenset(self._names)

    def add(
        self, trajectory: Trajectory, *, run: int, kind: int, within: str, mode: str | None = None
    ) -> None:
        """`run`, `kind`: places among the names of runs and of sets. `within`: what tells it apart from another run's
        of the same id. `mode`: how it failed, where that was found out."""
        self._rows.append(
            [
                self._key(trajectory.id, within),
                run,
                kind,
                printable_line(trajectory.task_id),
                trajectory.iteration,
                "".join(map(_who, trajectory.turns)),
                any(turn.label is not None for turn in trajectory.turns),
                trajectory.stop_reason.value,
                outcome(trajectory),
                mode,
            ]
        )
        self._bodies.append(self._body(trajectory))
        self.num_turns += len(trajectory.turns)

    def rows(self) -> list[list[Any]]:
        return self._rows

    def opened(self) -> dict[str, Any]:
        return {"texts": self._shown, "trajectories": self._bodies}

    def _key(self, trajectory_id: str, within: str) -> str:
        shown = printable_line(trajectory_id)
        number = 1
        key = shown
        while key in self._names:
            key = f"{within}/{shown}" if number == 1 else f"{within}/{shown}/{number}"
            number += 1
        self._names[key] = len(self._rows)
        return key

    def _body(self, trajectory: Trajectory) -> dict[str, Any]:
        """Every number in it is the place of a text. `unlabelled`: a turn without a label where others have one."""
        is_labelled = any(turn.label is not None for turn in trajectory.turns)
        body: dict[str, Any] = {
            "prompt": [self._message(message) for message in trajectory.prompt],
            "turns": [self._turn(turn, is_labelled=is_labelled) for turn in trajectory.turns],
        }
        if trajectory.error is not None:
            body["error"] = self._text(trajectory.error)
        if trajectory.beta:
            body["beta"] = f"{trajectory.beta:.2f}"
        if trajectory.verdict is not None:
            body["verdict"] = self._text(verdict_text(trajectory.verdict))
            body["details"] = [
                [self._text(name), self._text(value)]
                for name, value in trajectory.verdict.details.items()
                if isinstance(value, str) and "\n" in value
            ]
        return body

    def _turn(self, turn: Turn, *, is_labelled: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"action": self._action(turn.action)}
        if turn.label is not None and differs(turn.label, turn.action):
            told["label"] = self._action(turn.label)
        told["seen"] = [self._message(message) for message in turn.observation]
        if is_labelled and turn.label is None:
            told["unlabelled"] = True
        if turn.opening is not None:
            told["opening"] = self._text(opening_text(turn.opening))
            told["opened"] = [self._opened(each) for each in turn.opening.messages]
        if marks := turn_marks(turn):
            told["marks"] = self._text(", ".join(marks))
        return told

    def _opened(self, each: Message | int) -> dict[str, Any]:
        if isinstance(each, int):
            return {"role": "assistant", "text": self._text(repeated_text(each))}
        return self._message(each)

    def _action(self, action: Action) -> dict[str, Any]:
        told = self._message(action.message)
        if action.parse_error is not None:
            told["malformed"] = self._text(action.parse_error)
        return told

    def _message(self, message: Message) -> dict[str, Any]:
        told: dict[str, Any] = {"role": message.role}
        if message.content.strip():
            told["text"] = self._text(message.content)
        if message.tool_calls:
            told["calls"] = [
                [self._text(call.name), self._arguments(call.arguments)] for call in message.tool_calls
            ]
        return told

    def _arguments(self, arguments: Mapping[str, Any]) -> list[list[int]]:
        return [
            [self._text(name), self._text(value if isinstance(value, str) else json_text(value))]
            for name, value in arguments.items()
        ]

    def _text(self, text: str) -> int:
        if (place := self._texts.get(text)) is not None:
            return place
        shown = printable(text.replace("\r\n", "\n").strip("\n"))
        if len(shown) > LONGEST_TEXT:
            half = LONGEST_TEXT // 2
            left_out = len(shown) - 2 * half
            shown = f"{shown[:half]}\n… {left_out:,} characters left out …\n{shown[-half:]}"
            self.num_cut += 1
        self._shown.append(shown)
        return self._texts.setdefault(text, len(self._texts))


def _who(turn: Turn) -> str:
    """The actor's first letter; a capital where the teacher would have done something else."""
    letter = turn.actor[0]
    return letter.upper() if differs(turn.label, turn.action) else letter
