"""A given evaluation script, made to record the exit code of its tests, as swebench 5 does before it runs one."""

from __future__ import annotations

from turnmix.environments.repositories.adapters.evaluation_script import END, EXIT_CODE, HEADER

VARIABLE = "SWEBENCH_TEST_EXIT_CODE"


def with_recorded_exit(script: str) -> str:
    """
    >>> print(with_recorded_exit("#!/bin/bash\\npytest\\n: '>>>>> End Test Output'\\n"), end="")
    #!/bin/bash
    set -uxo pipefail
    pytest
    SWEBENCH_TEST_EXIT_CODE=$?
    : '>>>>> End Test Output'
    echo ">>>>> Test Exit Code: $SWEBENCH_TEST_EXIT_CODE"
    """
    heading = HEADER.splitlines()
    lines = [line for line in script.strip().split("\n") if line not in heading]
    place = next((number for number, line in enumerate(lines) if END in line), None)
    if place is not None:
        recorded = [f"{VARIABLE}=$?", lines[place], f'echo "{EXIT_CODE}: ${VARIABLE}"']
        lines[place : place + 1] = recorded
    return "\n".join([*heading, *lines]) + "\n"
