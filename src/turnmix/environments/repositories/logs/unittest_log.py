"""What the verbose log of Python's unittest says of each test, by the name that unittest prints.

>>> read_unittest_log("test_a (m.A) ... ok\\ntest_b (m.A) ... noise\\nok\\ntest_c (m.A)\\nIt holds ... FAIL\\n")
{'test_a (m.A)': 'PASSED', 'test_b (m.A)': 'PASSED', 'It holds': 'FAILED'}
>>> read_unittest_log("test_a (m.A) ... ok\\n\\nERROR: test_a (m.A)\\n")
{'test_a (m.A)': 'FAILED'}
"""

from __future__ import annotations

import re

_STARTED = re.compile(r"(\S.*?) \.\.\. ?(.*)")
_ENDED = re.compile(r"(ok|FAIL|ERROR|expected failure|unexpected success|skipped\b.*)")
_BROKEN = re.compile(r"(?:FAIL|ERROR): (\S+ \([^)]*\))")
_OUTCOMES = {"ok": "PASSED", "expected failure": "XFAIL"}


def read_unittest_log(log: str) -> dict[str, str]:
    """Outcomes by test. What a test prints may stand between its name and its outcome; a test that is named in
    the list of failures has failed, whatever its line says."""
    outcomes: dict[str, str] = {}
    running = ""
    for line in map(str.rstrip, log.split("\n")):
        if match := _BROKEN.match(line):
            outcomes[match[1]] = "FAILED"
            running = ""
            continue
        told = line
        if match := _STARTED.fullmatch(line):
            running, told = match[1], match[2].rpartition(" ... ")[2]
        if running and (match := _ENDED.fullmatch(told)):
            word = "skipped" if match[1].startswith("skipped") else match[1]
            outcomes[running] = "SKIPPED" if word == "skipped" else _OUTCOMES.get(word, "FAILED")
            running = ""
    return outcomes
