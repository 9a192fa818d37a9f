"""R2E-Gym: tasks from commits, with tests in a folder of the image that the agent must not see.

A row says what every test comes to after the fix. FAIL_TO_PASS are those to pass that did not before, as far as
the row tells that too; else all of them. Gold is made of the commit's own files.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from turnmix.environments.repositories.adapters.columns import ROOT, Row, Text, read_object
from turnmix.environments.repositories.adapters.evaluation_script import marked_script
from turnmix.environments.repositories.adapters.git_lines import git_lines
from turnmix.environments.repositories.logs.r2e_log import plain_name, read_r2e_log
from turnmix.environments.repositories.task_file import TaskRow

TESTS = "/r2e_tests"
ACTIVATION = f". {ROOT}/.venv/bin/activate"
RUN = "bash run_tests.sh"


class ChangedPath(Row):
    """Where a file lies."""

    path: Text


class ChangedHeader(Row):
    """The header of a file's diff."""

    file: ChangedPath


class ChangedFile(Row):
    """One file of the commit."""

    header: ChangedHeader
    old_file_content: str = ""
    new_file_content: str = ""
    is_binary_file: bool = False


class Commit(Row):
    """The commit that fixes."""

    file_diffs: list[ChangedFile] = Field(min_length=1)


class Executed(Row):
    """What the tests came to before the fix."""

    old_commit_res_stdout: str = ""


class R2ERow(Row):
    """R2E-Gym's columns."""

    repo_name: Text
    docker_image: Text
    commit_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")]
    problem_statement: Text
    parsed_commit_content: Annotated[Commit, BeforeValidator(read_object)]
    expected_output_json: Annotated[dict[str, str], BeforeValidator(read_object)]
    execution_result_content: Annotated[Executed | None, BeforeValidator(read_object)] = None


def from_r2e_gym(data: Mapping[str, Any]) -> TaskRow:
    """Raises ValueError: the row is no task."""
    row = R2ERow.model_validate(data)
    expected = {plain_name(name): outcome for name, outcome in row.expected_output_json.items()}
    passing = [name for name, outcome in expected.items() if outcome == "PASSED"]
    if not passing:
        raise ValueError(
            "expected_output_json: no test is to pass: a patch that does nothing would be resolved"
        )
    before = (
        read_r2e_log(row.execution_result_content.old_commit_res_stdout)
        if row.execution_result_content
        else {}
    )
    turned = [name for name in passing if before.get(name) != "PASSED"]
    if not turned:
        raise ValueError("expected_output_json: every test that is to pass passes before the fix")
    link = f"ln -sfn {TESTS} r2e_tests"
    return TaskRow(
        instance_id=f"{row.repo_name}__{row.commit_hash[:12]}",
        source="r2e-gym",
        repository=row.repo_name,
        image=row.docker_image,
        activation=ACTIVATION,
        has_history=False,
        hidden_paths=(TESTS, f"{ROOT}/r2e_tests", f"{ROOT}/run_tests.sh"),
        problem_statement=_issue(row.problem_statement),
        gold_patch=_gold(row.parsed_commit_content),
        fail_to_pass=tuple(turned),
        pass_to_pass=tuple(name for name in passing if name not in set(turned)),
        test_command="python -m pytest -rA",
        evaluation_script=marked_script(
            before=[f"[ -e r2e_tests ] || {link}"], test_command=RUN, activation=ACTIVATION
        ),
        log_parser="r2e",
    )


def _issue(text: str) -> str:
    inside = text.partition("[ISSUE]")[2].partition("[/ISSUE]")[0].strip()
    return inside or text


def _gold(commit: Commit) -> str:
    """The commit's changes of files that are no tests."""
    sections = []
    for change in commit.file_diffs:
        path = change.header.file.path
        words = path.lower().split("/")
        is_test = any(word in ("test", "tests") for word in words[:-1]) or words[-1].startswith("test_")
        if change.is_binary_file or is_test or change.old_file_content == change.new_file_content:
            continue
        sections.append(_section(path, change.old_file_content, change.new_file_content))
    if not sections:
        raise ValueError("parsed_commit_content: changes no file but tests")
    return "".join(sections)


def _section(path: str, old: str, new: str) -> str:
    lines = [f"diff --git a/{path} b/{path}\n"]
    if not old:
        lines.append("new file mode 100644\n")
    elif not new:
        lines.append("deleted file mode 100644\n")
    before, after = (f"a/{path}" if old else "/dev/null"), (f"b/{path}" if new else "/dev/null")
    for line in difflib.unified_diff(git_lines(old), git_lines(new), before, after):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(lines)
