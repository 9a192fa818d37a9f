"""What the summary of a test log says of R2E-Gym's tests, by the names that the set gives them: without the place.

Most of its images run pytest, which names the file; some run the set's own runner of unittest, which writes the same
summary and names the module.

>>> summary = "== short test summary info ==\\nPASSED r2e_tests/test_1.py::A::b\\nFAILED test_1::A::c - no\\n"
>>> read_r2e_log(summary)
{'A.b': 'PASSED', 'A.c': 'FAILED'}
"""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(r"(PASSED|FAILED|ERROR) (\S+?)::(.*)")


def read_r2e_log(log: str) -> dict[str, str]:
    """Outcomes by test; empty where there is no summary."""
    outcomes: dict[str, str] = {}
    _, found, summary = _COLOUR.sub("", log).rpartition("short test summary info")
    for line in summary.splitlines() if found else ():
        if match := _LINE.match(line.strip()):
            outcomes[plain_name(match[3].replace("::", "."))] = match[1]
    return outcomes


def plain_name(name: str) -> str:
    """A test's name without colours and without the reason of its failure."""
    return _COLOUR.sub("", name).split(" - ")[0].strip()
