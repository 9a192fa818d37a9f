"""How the repositories of SWE-Gym are tested: pytest's arguments, and what they need first.

The set's own rows do not say it, and no package does: these are the commands by which its FAIL_TO_PASS and
PASS_TO_PASS were measured. Installing the repository again before the tests is left out where that changes
nothing but needs a network: the images hold it, installed in place.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from turnmix.environments.repositories.adapters.evaluation_script import named_tests


@dataclass(frozen=True, slots=True, kw_only=True)
class GymCommand:
    """How one repository is tested."""

    pytest: str
    """The command, to which test files are added."""
    parser: str = "parse_log_pytest"
    before: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    """Brings compiled code up to date with the patch."""
    names_cases: bool = False
    """Tests are named by their cases in data files, not by file."""


COMMANDS = {
    "python/mypy": GymCommand(pytest="pytest -n0 -rA -k", names_cases=True),
    "getmoto/moto": GymCommand(pytest="pytest -n0 -rA"),
    "conan-io/conan": GymCommand(
        pytest="pytest -n0 -rA", before=("export PYTHONPATH=${PYTHONPATH:-}:$(pwd)",)
    ),
    "dask/dask": GymCommand(pytest="pytest -n0 -rA --color=no"),
    "project-monai/monai": GymCommand(pytest="pytest -rA"),
    "iterative/dvc": GymCommand(pytest="pytest -rA"),
    "bokeh/bokeh": GymCommand(pytest="pytest -rA -n0"),
    "modin-project/modin": GymCommand(pytest="pytest -n0 -rA"),
    "pydantic/pydantic": GymCommand(
        pytest="pytest -rA --tb=short -vv -o console_output_style=classic --no-header",
        parser="parse_log_pytest_v2",
        before=('export PATH="$HOME/.local/bin:$PATH"',),
    ),
    "pandas-dev/pandas": GymCommand(
        pytest="pytest -rA --tb=long",
        build=("python -m pip install -ve . --no-build-isolation -Ceditable-verbose=true",),
    ),
    "facebookresearch/hydra": GymCommand(pytest="pytest -rA --tb=long"),
}
"""By the repository's name in lower case."""


def command_of(repository: str) -> GymCommand:
    """Raises ValueError: the repository is none of SWE-Gym's."""
    command = COMMANDS.get(repository.lower())
    if command is None:
        raise ValueError(f"repo: {repository!r} is none of SWE-Gym's: {', '.join(sorted(COMMANDS))}")
    return command


def complete_command(command: GymCommand, test_patch: str) -> str:
    """The command with the tests of a test patch named.

    >>> patch = "diff --git a/test-data/unit/x.test b/test-data/unit/x.test\\n+[case testOne]\\n+[case testTwo]\\n"
    >>> complete_command(COMMANDS["python/mypy"], patch)
    "pytest -n0 -rA -k 'testOne or testTwo'"
    """
    if command.names_cases:
        if not (cases := re.findall(r"\[case ([^\]]+)\]", test_patch)):
            raise ValueError("test_patch: names no test case: `[case …]`")
        return f"{command.pytest} {shlex.quote(' or '.join(cases))}"
    if not (files := named_tests(test_patch)):
        raise ValueError("test_patch: touches no test file")
    return " ".join([command.pytest, *map(shlex.quote, files)])
