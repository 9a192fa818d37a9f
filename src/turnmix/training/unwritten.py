"""What is said where weights cannot be written: their name, the room that is left, the machine's own words."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from turnmix.core.errors import CheckpointError


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
            f"{name} cannot be written ({free:,} MB are free there): {first_line(error)}"
        ) from error


def first_line(error: BaseException) -> str:
    # torch says no more than that a file has not the length that it should have.
    if isinstance(error.__context__, OSError):
        error = error.__context__
    return (str(error) or type(error).__name__).splitlines()[0]
