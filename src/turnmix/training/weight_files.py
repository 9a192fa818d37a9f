"""Weights in files: who may read them, and what is said where they cannot be written."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from turnmix.core.errors import CheckpointError, first_line


@contextmanager
def told_if_unwritten(name: str, directory: Path) -> Iterator[None]:
    """Turns what writing of `name`, below `directory`, raises into a CheckpointError."""
    try:
        yield
    except Exception as error:
        # tokenizers raises no class of its own.
        if not isinstance(error, (OSError, RuntimeError, SafetensorError)) and type(error) is not Exception:
            raise
        free = shutil.disk_usage(directory).free // 1_000_000
        raise CheckpointError(
            f"{name} cannot be written ({free:,} MB are free there): {failure_line(error)}"
        ) from error


def give_modes(directory: Path) -> None:
    """Every file below `directory` may be read by whom the user's umask lets: safetensors gives its files 0600, which
    no server of another user can read."""
    probe = directory / ".mode"
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in directory.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def failure_line(error: BaseException) -> str:
    # torch says no more than that a file has not the length that it should have.
    if isinstance(error.__context__, OSError):
        error = error.__context__
    return first_line(error)
