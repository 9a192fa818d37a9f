"""TextWorld's games on the disk: made once, kept in a directory of the user's own.

In: an order for a game. Out: the path of its story, whole, and made here. A story is a program that an interpreter
written in C runs, and its logic is read into this process: what another user could have put there is not opened.
Several processes may ask for one game at once; one makes it. One that is killed while it does leaves nothing that
counts, and what it does leave is taken away later.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from turnmix.core.atomic_file import force_to_disk
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.json_text import json_text
from turnmix.environments.worlds.textworld_makers import make_game
from turnmix.environments.worlds.textworld_making import LOGIC, STORY

_MADE_AS = 1
"""To be raised where the same order leads to another game."""
DIGEST = "digest"
_PARTIAL = "partial-"
_FORGOTTEN_SECONDS = 3600.0


def games_folder() -> Path:
    """Where games are kept: `$XDG_CACHE_HOME/turnmix/textworld`, else `~/.cache/turnmix/textworld`.

    Raises:
        UserError: it cannot be made, or others could put games there.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "turnmix" / "textworld"
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, exist_ok=True)
            _check_own(each)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError("it cannot be written")
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"tasks.source: 'textworld': its games would be kept in {folder}: {reason}: "
            "set XDG_CACHE_HOME to a directory of your own"
        ) from error
    return folder


def made_game(order: Mapping[str, Any]) -> Path:
    """The story of a game, whose logic lies beside it. Takes seconds where it is asked for the first time.

    Raises:
        UserError: there is no place for it.
        InfrastructureError: it could not be made.
    """
    folder = games_folder()
    exact = json_text([_MADE_AS, version("textworld"), dict(order)], sort_keys=True)
    key = hashlib.sha256(exact.encode()).hexdigest()[:32]
    place = folder / key[:2] / key
    if not _is_whole(place):
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with _locked(place.parent):
            if not _is_whole(place):
                _sweep(place.parent)
                shutil.rmtree(place, ignore_errors=True)
                _make(order, place)
    return place / STORY


def _make(order: Mapping[str, Any], place: Path) -> None:
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=place.parent))
    try:
        work = partial / "work"
        work.mkdir()
        make_game(order, work)
        kept = partial / "kept"
        kept.mkdir(mode=0o700)
        for name in (STORY, LOGIC):
            os.replace(work / name, kept / name)
        (kept / DIGEST).write_text(_digest(kept))
        for name in (STORY, LOGIC, DIGEST):
            os.chmod(kept / name, 0o600)
            force_to_disk(kept / name)
        os.rename(kept, place)
    except OSError as error:
        raise InfrastructureError(f"a game could not be kept in {place.parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_own(path: Path) -> None:
    """Raises OSError: it is a link, or someone else may write it."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise OSError("it is a link")
    if status.st_uid != os.geteuid():
        raise OSError(f"{path} is somebody else's")
    if status.st_mode & 0o022:
        raise OSError(f"{path} can be written by others: chmod go-w it")


def _is_whole(place: Path) -> bool:
    """Is the game there as it was made? One that is damaged is made again."""
    try:
        for each in (place.parent, place, *(place / name for name in (STORY, LOGIC, DIGEST))):
            _check_own(each)
        return (place / DIGEST).read_text() == _digest(place)
    except (OSError, ValueError):
        return False


def _digest(place: Path) -> str:
    return " ".join(hashlib.sha256((place / name).read_bytes()).hexdigest() for name in (STORY, LOGIC))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone, among processes and threads; a lock ends with whoever holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Take away what a maker that was killed left, long ago."""
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            is_old = time.time() - entry.lstat().st_mtime > _FORGOTTEN_SECONDS
            if entry.name.startswith(_PARTIAL) and is_old:
                shutil.rmtree(entry, ignore_errors=True)
