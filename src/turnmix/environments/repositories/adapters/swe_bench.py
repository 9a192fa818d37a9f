"""SWE-bench (Verified, Lite, full), and the sets with its columns: SWE-Gym, SkyRL-v0-293, SWE-rebench.

In: a row of the set. Out: a row of a task file. SWE-bench's rows bring their evaluation script (since
swebench 5); rows of before that are completed by swebench 4, where that is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from turnmix.environments.repositories.adapters.columns import (
    CONDA,
    ROOT,
    Names,
    Patch,
    Row,
    SomeNames,
    Text,
    image_tag,
    read_object,
    without,
)
from turnmix.environments.repositories.adapters.evaluation_script import HEADER, named_tests, patched_script
from turnmix.environments.repositories.adapters.gym_commands import command_of, complete_command
from turnmix.environments.repositories.adapters.recorded_exit import with_recorded_exit
from turnmix.environments.repositories.logs.log_readers import PYTEST_PARSERS
from turnmix.environments.repositories.logs.test_log import unknown_parser
from turnmix.environments.repositories.task_file import TaskRow

ERRORS = "/tmp/turnmix-errors"


class SweBenchRow(Row):
    """The columns that SWE-bench and its kin share."""

    instance_id: Text
    repo: Text
    base_commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")]
    patch: Patch
    test_patch: Patch
    problem_statement: Text
    version: str | None = None
    FAIL_TO_PASS: SomeNames
    PASS_TO_PASS: Names


class BenchmarkRow(SweBenchRow):
    """SWE-bench's own."""

    image: Text | None = None
    eval_script: Text | None = None
    log_parser: Text | None = None
    eval_type: Literal["pass_and_fail", "fail_only"] = "pass_and_fail"


class InstallConfiguration(Row):
    """How a repository of SWE-rebench is tested."""

    test_cmd: str | list[str]
    log_parser: Text | None = None


class RebenchRow(SweBenchRow):
    """SWE-rebench's own."""

    docker_image: Text | None = None
    image_name: Text | None = None
    install_config: Annotated[InstallConfiguration, BeforeValidator(read_object)]


class SkyRow(Row):
    """SkyRL's own: the task is one column."""

    instance: Annotated[dict[str, Any], BeforeValidator(read_object)]


def from_swe_bench(data: Mapping[str, Any]) -> TaskRow:
    """Raises ValueError: the row is no task, or nothing here knows how it is tested."""
    row = BenchmarkRow.model_validate(data)
    script, parser, kind = row.eval_script, row.log_parser, row.eval_type
    if script is None or parser is None:
        script, parser, kind = _completed(row, data)
    else:
        script = with_recorded_exit(script)
    image = row.image or f"swebench/sweb.eval.x86_64.{image_tag(row.instance_id, '_1776_')}:latest"
    return _task(
        row,
        "swe-bench",
        image,
        script,
        parser,
        evaluation_type=kind,
        test_command=_visible("pytest -rA", row),
    )


def from_swe_gym(data: Mapping[str, Any]) -> TaskRow:
    """Raises ValueError: the row is no task, or its repository is none of SWE-Gym's."""
    row = SweBenchRow.model_validate(data)
    command = command_of(row.repo)
    script = patched_script(
        base_commit=row.base_commit,
        test_patch=row.test_patch,
        test_command=complete_command(command, row.test_patch),
        before=command.before,
        build=command.build,
    )
    image = f"xingyaoww/sweb.eval.x86_64.{image_tag(row.instance_id, '_s_')}:latest"
    visible = command.pytest if command.names_cases else _visible(command.pytest, row)
    return _task(row, "swe-gym", image, script, command.parser, test_command=visible.removesuffix(" -k"))


def from_sky_rl(data: Mapping[str, Any]) -> TaskRow:
    """Raises ValueError: the row holds no task."""
    row = from_swe_gym(SkyRow.model_validate(data).instance)
    return row.model_copy(update={"source": "sky-rl"})


def from_swe_rebench(data: Mapping[str, Any]) -> TaskRow:
    """Raises ValueError: the row is no task, or nothing here reads the log of its tests."""
    row = RebenchRow.model_validate(data)
    configuration = row.install_config
    parser = configuration.log_parser or "parse_log_pytest"
    if problem := unknown_parser(parser):
        raise ValueError(f"install_config.log_parser: {problem}")
    given = configuration.test_cmd
    commands = [given] if isinstance(given, str) else given
    visible = " && ".join(commands)
    is_second = row.image_name is not None and row.docker_image is None and "language" in data
    directory = f"/{row.repo.split('/')[-1]}" if is_second else ROOT
    activation = "" if is_second else CONDA
    if is_second and parser not in PYTEST_PARSERS:
        command = _as_measured(commands)
    else:
        command = visible if is_second else " ".join([visible, *named_tests(row.test_patch)])
    script = patched_script(
        base_commit=row.base_commit,
        test_patch=row.test_patch,
        test_command=command,
        directory=directory,
        activation=activation,
    )
    return _task(
        row,
        "swe-rebench",
        row.docker_image
        or row.image_name
        or f"swerebench/sweb.eval.x86_64.{image_tag(row.instance_id, '_1776_')}:latest",
        script,
        parser,
        test_command=visible,
        working_directory=directory,
        activation=activation,
    )


def _as_measured(commands: list[str]) -> str:
    """The commands as the second SWE-rebench runs them: up to the first that fails, without the settings of the
    script around them, and what they write on standard error behind all else.

    >>> print(_as_measured(["make", "make check"]))
    (
    set +ux +o pipefail -e
    make
    make check
    ) 2> /tmp/turnmix-errors; status=$?; cat /tmp/turnmix-errors; (exit $status)
    """
    lines = [
        "(",
        "set +ux +o pipefail -e",
        *commands,
        f") 2> {ERRORS}; status=$?; cat {ERRORS}; (exit $status)",
    ]
    return "\n".join(lines)


def _task(row: SweBenchRow, source: str, image: str, script: str, parser: str, **further: Any) -> TaskRow:
    return TaskRow.model_validate(
        {
            "instance_id": row.instance_id,
            "source": source,
            "repository": row.repo,
            "base_commit": row.base_commit,
            "image": image,
            "working_directory": ROOT,
            "activation": CONDA,
            "problem_statement": row.problem_statement,
            "gold_patch": row.patch,
            "test_patch": row.test_patch,
            "fail_to_pass": tuple(row.FAIL_TO_PASS),
            "pass_to_pass": without(row.PASS_TO_PASS, row.FAIL_TO_PASS),
            "evaluation_script": script,
            "log_parser": parser,
            **further,
        }
    )


def _visible(pytest: str, row: SweBenchRow) -> str:
    """The test command with the files that are there before the test patch comes."""
    files = {name.partition("::")[0] for name in row.PASS_TO_PASS if "::" in name}
    return " ".join([pytest, *sorted(files)[:8]])


def _completed(row: SweBenchRow, data: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Script, parser and kind as swebench 4 makes them."""
    try:
        from swebench.harness.constants import FAIL_ONLY_REPOS, MAP_REPO_VERSION_TO_SPECS
        from swebench.harness.log_parsers import MAP_REPO_TO_PARSER
        from swebench.harness.test_spec.create_scripts import make_eval_script_list
    except ImportError:
        raise ValueError(
            "eval_script, log_parser: the row lacks them, and swebench 5 cannot make them: take the rows of the "
            "hub as they are now, or prepare once where swebench==4.1.0 is installed"
        ) from None
    try:
        specification = MAP_REPO_VERSION_TO_SPECS[row.repo][row.version]
    except KeyError:
        raise ValueError(f"version: swebench knows no version {row.version!r} of {row.repo}") from None
    instance = {**data, "repo": row.repo, "version": row.version, "test_patch": row.test_patch}
    lines = make_eval_script_list(instance, specification, "testbed", ROOT, row.base_commit, row.test_patch)
    kind = "fail_only" if row.repo in FAIL_ONLY_REPOS else "pass_and_fail"
    script = with_recorded_exit(HEADER + "\n".join(lines) + "\n")
    return script, MAP_REPO_TO_PARSER[row.repo].__name__, kind
