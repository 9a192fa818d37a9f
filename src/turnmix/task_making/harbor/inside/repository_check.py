"""The reward of a repository's tests in Harbor's format: 1 where all that count passed.

In: `expected.json` beside this program, the log of the tests, the word that its true lines begin with. Out: the file of
the reward.
"""

import json
import os
import sys

PASSING = ("passed", "xfailed")


def outcomes_of(log: bytes, nonce: str) -> "dict[str, str]":
    """A test that is reported twice came to the worse of both."""
    prefix = f"@{nonce} ".encode()
    outcomes: dict[str, str] = {}
    for line in log.split(b"\n"):
        try:
            entry = json.loads(line[len(prefix) :]) if line.startswith(prefix) else {}
            test, outcome = entry["id"], entry["outcome"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if outcomes.get(test, "passed") in PASSING:
            outcomes[test] = outcome
    return outcomes


def main() -> None:
    path, nonce, reward = sys.argv[1:]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.json")) as file:
        expected = json.load(file)
    with open(path, "rb") as file:
        outcomes = outcomes_of(file.read(), nonce)
    is_right = all(outcomes.get(test) in PASSING for test in expected)
    with open(reward, "w") as file:
        file.write(f"{int(is_right)}\n")


if __name__ == "__main__":
    main()
