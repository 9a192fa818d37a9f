"""What a scaffold itself says of how well it went, for tasks of which nobody else can tell.

In: a JSON object, strictly read. Out: a verdict.

>>> verdict_of({"resolved": True, "reward": 0.5}).reward
0.5
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnmix.core.json_text import json_value
from turnmix.core.verdict import Verdict
from turnmix.gateway.scaffolds.work import ScaffoldEnd

REPORT_BYTES = 1 << 20
"""Of a report at most."""
_WANTED = (
    'give {"resolved": true or false}, and where there is one a number as "reward" and an object as "details"'
)
_KEYS = ("resolved", "reward", "details", "submitted")


def verdict_of(report: Mapping[str, Any]) -> Verdict:
    """Raises ValueError: it is no report; the message says what would be one."""
    if unknown := sorted(str(key) for key in report if key not in _KEYS):
        raise ValueError(f"report: {unknown[0]!r:.80}: there is no such key: {_WANTED}")
    for key in ("resolved", "submitted"):
        if not isinstance(report.get(key, True if key == "submitted" else None), bool):
            told = "is not given" if key not in report else f"is {report[key]!r:.80}"
            raise ValueError(f"report: {key} {told}: {_WANTED}")
    reward, details = report.get("reward"), report.get("details")
    if reward is not None and (isinstance(reward, bool) or not isinstance(reward, int | float)):
        raise ValueError(f"report: reward is {reward!r:.80}: {_WANTED}")
    if details is not None and not isinstance(details, Mapping):
        raise ValueError(f"report: details is {details!r:.80}: {_WANTED}")
    submitted = {"submitted": report["submitted"]} if "submitted" in report else {}
    return Verdict(resolved=report["resolved"], reward=reward, details={**(details or {}), **submitted})


def read_report(content: bytes) -> Mapping[str, Any]:
    """Raises ValueError: it is no JSON object."""
    try:
        value = json_value(content.decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"report: it is no JSON ({error}): {_WANTED}") from None
    if not isinstance(value, dict):
        raise ValueError(f"report: it is {value!r:.80}: {_WANTED}")
    return value


def ended(status: int, report: bytes | OSError) -> ScaffoldEnd:
    """What a command that has ended says of itself: by its exit status, and by the file that it may have left."""
    if isinstance(report, FileNotFoundError):
        return ScaffoldEnd(status=status)
    try:
        if isinstance(report, OSError):
            raise ValueError(f"report: {report.strerror}: {_WANTED}")
        return ScaffoldEnd(status=status, report=read_report(report))
    except ValueError as error:
        return ScaffoldEnd(status=status, fault=str(error))
