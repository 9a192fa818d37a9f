"""Names of tests without the time that a runner wrote behind them: it is another at every run."""

from __future__ import annotations

import re
from collections.abc import Mapping

_AMOUNT = r"\d+(?:[.,]\d+)*\s*(?:ns|us|µs|μs|ms|msecs?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)"
_TIME = rf"(?:[<~≈]\s*)?{_AMOUNT}(?:\s+{_AMOUNT})*"
_TIMINGS = (
    re.compile(rf"\s+[(\[<]\s*(?:in\s+|took\s+)?{_TIME}\s*[)\]>]\s*$", re.IGNORECASE),
    re.compile(rf"\s+(?:in|took)\s+{_TIME}(?=\s|$)", re.IGNORECASE),
    re.compile(rf"\s+(?:[-–—:=]\s*)?{_TIME}\s*$", re.IGNORECASE),
)


def without_timing(name: str) -> str:
    """
    >>> [without_timing(f"adds {time}") for time in ("(12 ms)", "[1.34 s]", "9ms", "in 29.08 msec", "(1m 2s)")]
    ['adds', 'adds', 'adds', 'adds', 'adds']
    >>> without_timing("waits (12 ms) and adds 3 items"), without_timing("test_waits[5s]")
    ('waits (12 ms) and adds 3 items', 'test_waits[5s]')
    """
    for timing in _TIMINGS:
        name = timing.sub("", name)
    return name.strip()


class TimedOutcomes:
    """Outcomes by test, found by a name that may hold another time."""

    def __init__(self, outcomes: Mapping[str, str]) -> None:
        self._outcomes = outcomes
        self._by_plain_name: dict[str, list[str]] = {}
        for name, outcome in outcomes.items():
            self._by_plain_name.setdefault(without_timing(name), []).append(outcome)

    def passes(self, test: str) -> bool:
        """Whether the test passed; where several have its name but for the time, whether all did."""
        if test in self._outcomes:
            return self._outcomes[test] == "PASSED"
        found = self._by_plain_name.get(without_timing(test), [])
        return bool(found) and all(outcome == "PASSED" for outcome in found)
