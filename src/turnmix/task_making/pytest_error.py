"""Why pytest ran no test, in one line, in its own words.

In: the log of a run. Out: the error that pytest names, and the conftest that it names with it.
"""

from __future__ import annotations

import re

_CONFTEST = re.compile(r"(?:/testbed/)?([\w./+-]*\bconftest\.py)\b")
_CAUSE = re.compile(
    r"(?:INTERNALERROR> |E\s+)?((?:[\w.]+\.)?\w*(?:Error|Exception|Warning|Exit)\b: .+|[\w.()]+: error: .+|ERROR:? .+)"
)
_SUPERSEDED = re.compile(
    r"unknown hook|PluginValidationError|PytestRemovedIn|PytestDeprecationWarning|No module named '_pytest|"
    r"from '_?pytest|module '_?pytest|'(?:Function|Item|Node|Config|Session|Module|Class)' object has no attribute"
)
LONGEST = 400


def pytest_error(log: str) -> str:
    """
    >>> pytest_error("ImportError while loading conftest '/testbed/conftest.py'.\\nE   NameError: name 'x'")
    "conftest.py cannot be loaded: NameError: name 'x'"
    >>> pytest_error("pytest.main(): error: unrecognized arguments: --cov")
    'pytest.main(): error: unrecognized arguments: --cov'
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    causes = [match[1] for line in lines if (match := _CAUSE.match(line))]
    cause = (causes or lines or ["it printed nothing"])[-1][:LONGEST]
    named = [match[1] for line in lines if (match := _CONFTEST.search(line))]
    if not named:
        return cause
    if _SUPERSEDED.search(log):
        return (
            f"{named[-1]} was written for another version of pytest: {cause}: name by --python a virtual "
            "environment with the pytest that it was written for, or bring it up to date"
        )
    return f"{named[-1]} cannot be loaded: {cause}"
