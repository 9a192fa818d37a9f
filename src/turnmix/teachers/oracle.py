"""The oracle: the expert of the tasks' own world teaches. It knows what no agent knows, and costs nothing to ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.policies.policy import Policy
from turnmix.policies.teacher import Teacher, TeacherParts, TeacherSettings


class OracleSettings(TeacherSettings):
    """The privileged teacher that knows each task's solution."""

    kind: Literal["oracle"] = "oracle"
    """Which teacher."""
    writes_text_calls: ClassVar[bool] = False

    @property
    def title(self) -> str:
        return "oracle"

    def make(self, parts: TeacherParts) -> OracleTeacher:
        return OracleTeacher(parts)


class OracleTeacher(Teacher):
    """Acts and labels as the world's expert."""

    def __init__(self, parts: TeacherParts) -> None:
        """
        Raises:
            UserError: it is to act, and the world has no expert.
        """
        self._parts = parts
        # Opened at once: that there is none is known before anything long.
        self._unused = parts.expert() if parts.acts else None
        if parts.acts and self._unused is None:
            raise self._no_expert()

    def check(self, *, is_hurried: bool) -> Iterable[Finding]:
        detail = "the oracle: it costs nothing and is always there"
        return [Finding(subject="kind", passed=True, detail=detail)]

    def policy(self) -> Policy:
        opened, self._unused = self._unused or self._parts.expert(), None
        if opened is None:
            raise self._no_expert()
        return opened

    def _no_expert(self) -> UserError:
        return UserError(
            f"teacher.kind: 'oracle': the tasks of {self._parts.source!r} have no expert: name another teacher, such "
            "as teacher.endpoint=URL teacher.model=NAME, or teacher.kind=local teacher.model=NAME"
        )
