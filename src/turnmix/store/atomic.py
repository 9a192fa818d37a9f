"""Small files that are replaced whole: a reader, or a crash, finds the old content or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, text: str, *, is_forced: bool = True) -> None:
    """Replace `path` by `text`. `is_forced`: return only when it is on the disk."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if is_forced:
            os.fsync(file.fileno())
    partial.replace(path)
