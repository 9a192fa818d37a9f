"""Which files of a repository belong to its tests, by their names alone."""

from __future__ import annotations

import re

TEST_DIRECTORY = "tests"
TOP_TEST_DIRECTORIES = ("test", "testing")
CONFIGURATION = ("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini",
                 "setup.cfg", "pyproject.toml")  # fmt: skip
"""Files that steer pytest. They belong to the tests: a patch's own versions of them are not used."""
_TEST_FILE = re.compile(r"test_.*\.py|.*_test\.py")


def is_test_path(path: str) -> bool:
    """Whether a repository's file belongs to its tests: to be put back before every verdict.

    >>> [is_test_path(path) for path in ("src/a/tests/data.txt", "test/x.py", "a/test/x.py", "a/conftest.py")]
    [True, True, False, True]
    """
    *directories, name = path.split("/")
    return (
        TEST_DIRECTORY in directories
        or path.split("/")[0] in TOP_TEST_DIRECTORIES
        or name in CONFIGURATION
        or _TEST_FILE.fullmatch(name) is not None
    )
