"""Which runs this user made on this machine: only their recipes speak for the user.

In: a directory, and the recipe that lies in it. Out: a seal beside it, and later whether it is whole. The seal is
keyed by a secret of the user's, which no run directory holds, over the recipe's text and the directory's own path: a
directory that came from elsewhere, was moved, or whose recipe was changed has none. Who owns the files says nothing,
since whoever unpacks a stranger's archive owns them.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from turnmix.core.atomic_file import write_atomically
from turnmix.core.bounded_file import read_bounded
from turnmix.store.user_state import state_folder

SEAL = ".made-here"
_SECRET_BYTES = 32
_MOST_BYTES = 1 << 20


def seal(directory: Path, recipe_yaml: str, *, descriptor: int | None = None) -> None:
    """Note that this user had `recipe_yaml` put into `directory`. Where the user's state cannot be kept, it is not
    noted. `descriptor`: of the directory, opened before. Raises OSError: the directory cannot be written."""
    if (secret := _secret(is_making=True)) is not None:
        text = _seal_of(secret, directory, recipe_yaml.encode())
        write_atomically(directory / SEAL, text, directory=descriptor)


def is_made_here(recipe: Path) -> bool:
    """Was this file, as it is now, put where it lies by `seal`?"""
    if (secret := _secret(is_making=False)) is None:
        return False
    try:
        held = read_bounded(recipe.with_name(SEAL), most=_MOST_BYTES, follows_link=False)
        found = read_bounded(recipe, most=_MOST_BYTES, follows_link=False)
        wanted = _seal_of(secret, recipe.parent, found)
    except OSError:
        return False
    return hmac.compare_digest(held, wanted.encode())


def _seal_of(secret: bytes, directory: Path, recipe: bytes) -> str:
    sealed = os.fsencode(os.path.realpath(directory)) + b"\0" + recipe
    return hmac.new(secret, sealed, "sha256").hexdigest()


def _secret(*, is_making: bool) -> bytes | None:
    """The user's own, made where there is none yet; None: there is none, or it is not the user's alone."""
    try:
        folder = state_folder()
        path = folder / "secret"
        if is_making and not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_secret(path)
        status = path.lstat()
        is_private = status.st_uid == os.geteuid() and not status.st_mode & 0o077
        if not stat.S_ISREG(status.st_mode) or not is_private:
            return None
        secret = read_bounded(path, most=_SECRET_BYTES)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return secret if len(secret) == _SECRET_BYTES else None


def _make_secret(path: Path) -> None:
    """Whole or not at all, and once: of two processes that make one, the second keeps the first one's."""
    partial = path.with_name(f".secret-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(_SECRET_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        os.close(descriptor)
        partial.unlink()
