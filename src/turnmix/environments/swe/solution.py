"""What a row says to the oracle: its base and gold files, found by applying its patches as git does.

Enters: a row and the content of its archive. Leaves: a `Solution`.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.core.task import Solution
from turnmix.environments.swe.laying import encoded
from turnmix.environments.swe.task_file import TaskRow


def solve(row: TaskRow, archive: bytes) -> Solution:
    """The row's solution.

    Raises:
        UserError: a patch does not fit the archive.
    """
    with tempfile.TemporaryDirectory(prefix="turnmix-") as name:
        directory = Path(name)
        unpack(archive, directory)
        _apply(row, "base_patch", directory)
        base = read_text_files(directory)
        _apply(row, "gold_patch", directory)
        gold = read_text_files(directory)
    return Solution(
        files={path: text for path, text in gold.items() if base.get(path) != text},
        removed=tuple(sorted(set(base) - set(gold))),
        base=base,
        test_command=row.test_command,
        test_timeout=row.timeout_seconds,
    )


def unpack(archive: bytes, directory: Path) -> None:
    """Lay a trusted archive's tree into `directory`."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        if hasattr(tarfile, "tar_filter"):  # not in every Python 3.10
            tar.extraction_filter = tarfile.tar_filter
        tar.extractall(directory)


def read_text_files(directory: Path, paths: Iterable[Path] | None = None) -> dict[str, str]:
    """All regular files, by relative path. Bytes that are no UTF-8 are kept as half surrogate pairs."""
    found = sorted(directory.rglob("*")) if paths is None else paths
    return {
        str(path.relative_to(directory)): path.read_bytes().decode(errors="surrogateescape")
        for path in found
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }


def _apply(row: TaskRow, field: str, directory: Path) -> None:
    if not (patch := getattr(row, field)):
        return
    result = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"], cwd=directory, input=encoded(patch), capture_output=True
    )
    if result.returncode != 0:
        told = result.stderr.decode(errors="replace").strip()
        raise UserError(f"{row.instance_id}: {field} does not apply to its archive: {told}")
