"""The tests of a minirepo in Harbor's format: calls the agent's code in another process, and compares values here.

In: `cases.json` and `caller.py` beside this program, and the repository's directory. Out: whether all are right, in the
file of the reward. The cases are gone before the agent's code runs: it sees arguments alone.
"""

import json
import marshal
import os
import subprocess
import sys

SECONDS = 60
MARSHAL_VERSION = 2
"""Every Python reads it."""


def is_same(actual: object, expected: object) -> bool:
    """Equal in value and in type, all the way down: True is not 1."""
    if type(actual) is not type(expected):
        return False
    if isinstance(actual, list) and isinstance(expected, list):
        return len(actual) == len(expected) and all(map(is_same, actual, expected))
    return actual == expected


def parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def main() -> None:
    directory, reward = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "cases.json")) as file:
        cases = json.load(file)
    with open(os.path.join(here, "caller.py")) as file:
        caller = file.read()
    os.remove(os.path.join(here, "cases.json"))
    calls = [(case["module"], case["function"], case["arguments"]) for case in cases]
    try:
        output = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", caller],
            input=marshal.dumps((directory, [], calls), MARSHAL_VERSION),
            stdout=subprocess.PIPE,
            cwd="/tmp",
            env={},
            timeout=SECONDS,
        ).stdout
    except subprocess.TimeoutExpired:
        output = b""
    marker = b"@answer "
    answers = [parsed(line[len(marker) :]) for line in output.split(b"\n") if line.startswith(marker)]
    is_right = len(answers) >= len(cases) and all(
        is_same(answer, [case["expected"]]) for answer, case in zip(answers, cases)
    )
    with open(reward, "w") as file:
        file.write(f"{int(is_right)}\n")


if __name__ == "__main__":
    main()
