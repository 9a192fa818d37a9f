"""A session on disk: what was asked and what was answered, one line each, in the order in which it happened.

In: the events of a session. Out: the session as it was, once they have happened again. A line is with the operating
system before its answer goes out, so that a process that is killed loses nothing; it is not forced to the disk, which
would hold up every answer for what only a machine that loses its power loses: the last lines, whose turns then are
messages that nobody here gave. What a crash cut short is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.rollout.plan import RolloutPlan
from turnmix.store.append_log import AppendLog

FIX = "delete that file: its session is lost, and rolled out anew"
_FORMAT = 1


class SessionJournal:
    """One session's events, appended."""

    def __init__(self, path: Path, log: AppendLog) -> None:
        self.path = path
        self._log = log
        self._opened: Mapping[str, Any] = {}

    @classmethod
    def create(
        cls, path: Path, plan: RolloutPlan, *, about: Mapping[str, Any] | None = None
    ) -> SessionJournal:
        """A new one. `about`: what else its owner wants to read in it again.

        Raises:
            UserError: there is one already.
            OSError: it cannot be written.
        """
        if path.exists():
            raise UserError(f"{path}: there is a session's journal already: take another name")
        journal = cls(path, AppendLog(path))
        journal.append(
            "opened",
            format=_FORMAT,
            trajectory_id=plan.trajectory_id,
            task_id=plan.task.id,
            seed=plan.seed,
            about=dict(about or {}),
        )
        journal._read_opened()
        return journal

    @classmethod
    def open(cls, path: Path) -> SessionJournal:
        """One of an earlier process.

        Raises:
            UserError: it is damaged, or no journal.
            OSError: it cannot be opened.
        """
        journal = cls(path, AppendLog(path))
        try:
            journal._read_opened()
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def trajectory_id(self) -> str:
        return str(self._opened["trajectory_id"])

    @property
    def about(self) -> Mapping[str, Any]:
        """What its owner wrote when it was created."""
        about: Mapping[str, Any] = self._opened["about"]
        return about

    @property
    def is_closed(self) -> bool:
        """Was the session ended, and its trajectory kept?"""
        return "closed" in self._log

    def check(self, plan: RolloutPlan) -> None:
        """Raises UserError: it is of another plan."""
        for name, value in (
            ("trajectory_id", plan.trajectory_id),
            ("task_id", plan.task.id),
            ("seed", plan.seed),
        ):
            if self._opened[name] != value:
                raise UserError(
                    printable_line(
                        f"{self.path}: it is a session of {name} {self._opened[name]!r:.80}, not {value!r:.80}: {FIX}"
                    )
                )

    def append(self, kind: str, **event: Any) -> None:
        """Note that something happened.

        Raises:
            UserError: it is longer than a line that is read again; nothing is written.
            OSError: it cannot be written.
        """
        number = "closed" if kind == "closed" else str(len(self._log))
        self._log.append_record({"id": number, "kind": kind, **event}, is_forced=False)

    def mark_closed(self) -> None:
        """The session's trajectory is kept: nothing is to be restored."""
        self.append("closed")

    def events(self) -> Iterator[dict[str, Any]]:
        """What happened since it was opened, in order. Raises UserError: it is damaged."""
        yield from self._log.records(self._log.ids[1:])

    def damaged(self, event: Mapping[str, Any], reason: str) -> UserError:
        """The error of an event that cannot have happened."""
        return UserError(printable_line(f"{self.path}, event {event.get('id')}: {reason}: {FIX}"))

    def close(self) -> None:
        self._log.close()

    def _read_opened(self) -> None:
        first = next(iter(self._log.records(self._log.ids[:1])), None)
        names = {"format": int, "trajectory_id": str, "task_id": str, "seed": int, "about": dict}
        if first is None or first.get("kind") != "opened":
            raise UserError(f"{self.path}: it is no journal of a session: {FIX}")
        if any(not isinstance(first.get(name), kind) for name, kind in names.items()):
            raise self.damaged(first, "it does not tell its session")
        if first["format"] != _FORMAT:
            raise self.damaged(first, f"it is of format {first['format']}, and this version reads {_FORMAT}")
        self._opened = first
