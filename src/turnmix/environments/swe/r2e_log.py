"""What pytest's summary says of R2E-Gym's tests, by the names that the set gives them: without the file.

>>> summary = "== short test summary info ==\\nPASSED r2e_tests/test_1.py::A::b\\nFAILED r2e_tests/test_1.py::c - no\\n"
>>> read_r2e_log(summary)
{'A.b': 'PASSED', 'c': 'FAILED'}
"""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(r"(PASSED|FAILED|ERROR) (\S+?\.py)::(.*)")


def read_r2e_log(log: str) -> dict[str, str]:
    """Outcomes by test; empty where there is no summary."""
    outcomes: dict[str, str] = {}
    _, found, summary = _COLOUR.sub("", log).rpartition("short test summary info")
    for line in summary.splitlines() if found else ():
        if match := _LINE.match(line.strip()):
            outcomes[match[3].split(" - ")[0].strip().replace("::", ".")] = match[1]
    return outcomes
