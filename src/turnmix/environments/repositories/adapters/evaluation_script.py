"""The shell script that runs a task's tests for the verdict, as swebench writes it.

In: a row's test patch and test command. Out: a script for bash, without `-e`: it puts the test files back,
applies the test patch, and runs the tests between two marks that the log parser looks for; then the tests' own
exit code.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from turnmix.environments.repositories.adapters.columns import CONDA, ROOT

START, END = ">>>>> Start Test Output", ">>>>> End Test Output"
EXIT_CODE = ">>>>> Test Exit Code"
HEADER = "#!/bin/bash\nset -uxo pipefail\n"
NOT_TESTS = (".json", ".png", "csv", ".txt", ".md", ".jpg", ".jpeg", ".pkl", ".yml", ".yaml", ".toml")
"""Endings of files of a test patch that are no tests themselves."""


def changed_files(patch: str) -> list[str]:
    """Files that a patch finds there: changed or removed, not added.

    >>> changed_files("diff --git a/x b/x\\n--- a/x\\n+++ b/x\\ndiff --git a/y b/y\\n--- /dev/null\\n+++ b/y\\n")
    ['x']
    """
    return re.findall(r"^--- a/(.*?)\t?$", patch, flags=re.MULTILINE)


def named_tests(test_patch: str) -> list[str]:
    """The test files of a patch, to be named to the test runner."""
    touched = re.findall(r"^diff --git a/.* b/(.*)$", test_patch, flags=re.MULTILINE)
    return [path for path in touched if not path.endswith(NOT_TESTS)]


def patched_script(
    *,
    base_commit: str,
    test_patch: str,
    test_command: str,
    before: Sequence[str] = (),
    build: Sequence[str] = (),
    directory: str = ROOT,
    activation: str = CONDA,
) -> str:
    """The script of a set that has test patches. `before`: run in the environment; `build`: what a change of
    the code makes necessary."""
    files = " ".join(map(shlex.quote, changed_files(test_patch)))
    reset = f"git checkout {base_commit} -- {files}" if files else ":"
    patch = test_patch if test_patch.endswith("\n") else test_patch + "\n"
    return marked_script(
        before=[
            *before,
            *build,
            reset,
            f"git apply -v - <<'END_OF_TEST_PATCH'\n{patch}END_OF_TEST_PATCH",
        ],
        test_command=test_command,
        after=[reset],
        directory=directory,
        activation=activation,
    )


def marked_script(
    *,
    test_command: str,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    directory: str = ROOT,
    activation: str = CONDA,
) -> str:
    """The script that runs `test_command` between the marks."""
    lines = [
        *([activation] if activation else []),
        f"git config --global --add safe.directory {shlex.quote(directory)}",
        f"cd {shlex.quote(directory)}",
        *before,
        f": '{START}'",
        test_command,
        "TEST_EXIT_CODE=$?",
        f": '{END}'",
        f'echo "{EXIT_CODE}: $TEST_EXIT_CODE"',
        *after,
    ]
    return HEADER + "\n".join(lines) + "\n"
