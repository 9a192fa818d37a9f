"""SWE-smith: bugs injected into real repositories. A row's `patch` is the bug, so gold is its reverse.

Its images hold the repository with one branch for each instance: the bug, then the removal of the test files that
show it. Where an image has no such branch, the same two commits are made of the row. The agent gets neither
commit: the first shows the fix.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from turnmix.environments.repositories.adapters.columns import CONDA, Names, Patch, Row, SomeNames, Text
from turnmix.environments.repositories.adapters.evaluation_script import marked_script
from turnmix.environments.repositories.adapters.reversal import reversed_patch
from turnmix.environments.repositories.adapters.smith_commands import command_of, repository_of
from turnmix.environments.repositories.task_file import TaskRow

REGISTRY = "jyangballin"
"""Who publishes the images whose name has no publisher."""


class SmithRow(Row):
    """SWE-smith's columns."""

    instance_id: Text
    repo: Text
    patch: Patch
    image_name: Text
    problem_statement: Text
    FAIL_TO_PASS: SomeNames
    PASS_TO_PASS: Names


def from_swe_smith(data: Mapping[str, Any]) -> TaskRow:
    """Raises ValueError: the row is no task, or nothing here knows how its repository is tested."""
    row = SmithRow.model_validate(data)
    command = command_of(repository_of(row.repo), row.FAIL_TO_PASS)
    others = [name for name in row.PASS_TO_PASS if name not in set(row.FAIL_TO_PASS)]
    if command.runs == "files":
        files = _files(row.FAIL_TO_PASS)
        words = " ".join(map(shlex.quote, files))
        run, back, removed = f"{command.run} {words}", f"git checkout HEAD~1 -- {words}", words
        # Its tests are measured file by file: of PASS_TO_PASS count those in the files that are run.
        others = [name for name in others if name.partition("::")[0] in files]
    else:
        run, back, removed = command.run, f"git checkout HEAD~1 -- {' '.join(command.tests)}", ""
    if command.runs == "cases":
        cases = _cases(row.FAIL_TO_PASS)
        run = f'{run} "{" or ".join(cases)}"'
        others = [name for name in others if any(case.lower() in name.lower() for case in cases)]
    return TaskRow(
        instance_id=row.instance_id,
        source="swe-smith",
        repository=row.repo,
        image=_image(row.image_name),
        activation=CONDA,
        setup_script=_setup(row, removed),
        has_history=False,
        problem_statement=row.problem_statement,
        gold_patch=reversed_patch(row.patch),
        fail_to_pass=tuple(row.FAIL_TO_PASS),
        pass_to_pass=tuple(others),
        test_command=command.run.removesuffix(" -k"),
        evaluation_script=marked_script(before=[back], test_command=run),
        log_parser=command.parser,
    )


def _files(tests: list[str]) -> list[str]:
    files = list(dict.fromkeys(name.partition("::")[0] for name in tests))
    if strange := [path for path in files if path.startswith(("/", "-")) or ".." in path.split("/")]:
        raise ValueError(f"FAIL_TO_PASS: {strange[0]!r} is no file of the repository")
    return files


def _cases(tests: list[str]) -> list[str]:
    """The last name of each test, as pytest's -k takes it."""
    cases = list(dict.fromkeys(name.rpartition("::")[2] for name in tests))
    if strange := [case for case in cases if not re.fullmatch(r"[\w.+-]+", case)]:
        raise ValueError(f"FAIL_TO_PASS: {strange[0]!r} is no case that can be named to pytest -k")
    return cases


def _image(name: str) -> str:
    name = name.replace("__", "_1776_").lower()
    name = name if "/" in name else f"{REGISTRY}/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _setup(row: SmithRow, test_files: str) -> str:
    patch = row.patch if row.patch.endswith("\n") else row.patch + "\n"
    removal = f" && rm -f -- {test_files} && git commit -q --no-verify -am 'Tests'" if test_files else ""
    return (
        f"git checkout -q {shlex.quote(row.instance_id)} -- 2>/dev/null || {{\n"
        f"git apply --whitespace=nowarn - <<'END_OF_BUG' || exit 1\n{patch}END_OF_BUG\n"
        f"git commit -q --no-verify -am 'Bug'{removal}\n"
        "}"
    )
