"""How the repositories of SWE-smith are tested, where it is not by pytest and the files of FAIL_TO_PASS alone.

The set's rows do not say it: these are the commands and the readers of logs by which its FAIL_TO_PASS and
PASS_TO_PASS were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PYTEST = "pytest --disable-warnings --color=no --tb=no -rA"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmithCommand:
    """How one repository is tested."""

    run: str = PYTEST
    runs: Literal["files", "cases", "everything"] = "files"
    """What `run` is told: the files of FAIL_TO_PASS, their last names as an expression for -k, or nothing."""
    parser: str = "parse_log_pytest"
    tests: tuple[str, ...] = ()
    """Where the tests lie, for a command that is not told their files."""


COMMANDS = {
    "tornadoweb/tornado": SmithCommand(
        run="python -m tornado.test --verbose", runs="everything", parser="unittest", tests=("tornado/test",)
    ),
    "un33k/python-slugify": SmithCommand(
        run="python test.py --verbose", runs="everything", parser="unittest", tests=("test.py",)
    ),
    "python/mypy": SmithCommand(
        run="pytest --color=no -rA -k", runs="cases", tests=("mypy/test", "test-data/unit")
    ),
    # uv would look for newer packages at every run.
    "pydantic/pydantic": SmithCommand(run=f"/root/.local/bin/uv run --no-sync {PYTEST}", tests=("tests",)),
    "mido/mido": SmithCommand(run=f"{PYTEST} -c /dev/null", tests=("tests",)),
}
"""By the repository's name in lower case. All others are tested by pytest, file by file."""


def repository_of(column: str) -> str:
    """
    >>> repository_of("swesmith/un33k__python-slugify.872b3750")
    'un33k/python-slugify'
    """
    return column.rpartition("/")[2].rpartition(".")[0].replace("__", "/", 1).lower()


def command_of(repository: str, tests: Sequence[str]) -> SmithCommand:
    """
    Raises:
        ValueError: `tests` are no names of pytest's, and nothing here knows how else the repository is tested.
    """
    command = COMMANDS.get(repository, SmithCommand())
    if command.runs == "files" and (strange := [name for name in tests if not _names_a_file(name)]):
        raise ValueError(
            f"FAIL_TO_PASS: {strange[0]!r} names no test file, and nothing here knows how {repository} is tested"
        )
    return command


def _names_a_file(test: str) -> bool:
    path, found, _ = test.partition("::")
    return bool(found) and path.endswith((".py", ".rst", ".txt", ".md"))
