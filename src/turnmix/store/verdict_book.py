"""Verdicts that were made before, so that none is made twice: one small file each, named by what it is the verdict on.

In: a key, which says on what and under which conditions. Out: the verdict, or nothing. Whoever can write into
the book decides verdicts: it lies in the user's own state, under the path of the predictions, never beside them, unless
the user names a place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from turnmix.core.atomic_file import write_atomically
from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text, json_value
from turnmix.core.verdict import Verdict
from turnmix.store.records import VerdictRecord
from turnmix.store.user_state import state_folder

OPTION = "--verdicts"
_FOLDER = "verdicts"
_MOST_BYTES = 1 << 16


class VerdictBook:
    """A directory of verdicts."""

    def __init__(self, folder: Path, *, is_named: bool) -> None:
        """`is_named`: by the user, who is told where it cannot be written; else it is left alone."""
        self.folder = folder
        self._is_named = is_named

    @classmethod
    def open(cls, named: str | None, *, predictions: Path) -> VerdictBook:
        """The book in the directory that the user names, else the user's own on this file of predictions.

        Raises:
            UserError: there is a file in its place, or it cannot be made.
        """
        if named is None:
            with contextlib.suppress(RuntimeError):
                place = hashlib.sha256(os.fsencode(os.path.realpath(predictions))).hexdigest()[:16]
                return cls(state_folder() / _FOLDER / place, is_named=False)
            return cls(Path("/nonexistent"), is_named=False)
        folder = Path(named)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{OPTION} {named}: {error.strerror}: name a directory") from error
        return cls(folder, is_named=True)

    def find(self, key: str) -> Verdict | None:
        """The verdict under `key`; None: it is to be made, also where what lies here is damaged."""
        try:
            data = json_value(read_bounded(self._path(key), most=_MOST_BYTES, follows_link=False))
            VerdictRecord.model_validate(data)
        except (OSError, ValueError):
            return None
        return Verdict.from_json(data)

    def keep(self, key: str, verdict: Verdict) -> None:
        """
        Raises:
            UserError: the directory that the user named cannot be written.
        """
        path = self._path(key)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, json_text(verdict.to_json()) + "\n")
        except OSError as error:
            if self._is_named:
                raise UserError(f"{OPTION} {self.folder}: {error.strerror}") from error

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
