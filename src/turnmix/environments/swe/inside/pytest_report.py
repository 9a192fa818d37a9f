"""Runs pytest and reports what each test came to, on lines that only this run can write.

Enters: a nonce on standard input; the source directories and pytest's arguments, divided by `--`. Leaves: one
line a test on standard output, `@NONCE {"id": …, "outcome": …}`. The code under test is imported only after
the nonce has been read and pytest loaded, so neither what it prints nor how it exits can pass for a result.
Code written against this very program can: it runs in the same process, as under every test runner.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

LONGEST_MESSAGE = 2000


class Reporter:
    def __init__(self, nonce: str, sink: TextIO) -> None:
        self._prefix = f"\n@{nonce} "
        self._sink = sink

    def _write(self, node: str, outcome: str, message: str = "") -> None:
        line = json.dumps(
            {"id": node, "outcome": outcome, "message": message[:LONGEST_MESSAGE]}, allow_nan=False
        )
        self._sink.write(self._prefix + line + "\n")
        self._sink.flush()

    def pytest_runtest_logreport(self, report: Any) -> None:
        message = "" if report.passed else _message(report)
        if report.failed:
            self._write(report.nodeid, "failed" if report.when == "call" else "error", message)
        elif report.skipped:
            self._write(report.nodeid, "xfailed" if hasattr(report, "wasxfail") else "skipped", message)
        elif report.when == "call":
            self._write(report.nodeid, "passed")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._write(report.nodeid, "error", _message(report))


def _message(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(report.longrepr or "")[-LONGEST_MESSAGE:] if crash is None else str(crash.message)


def main() -> int:
    nonce = sys.stdin.readline().strip()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sink = os.fdopen(os.dup(1), "w")
    split = sys.argv.index("--")
    sources, arguments = sys.argv[1:split], sys.argv[split + 1 :]
    del sys.path[0]  # this program's own directory
    import pytest

    sys.path[:0] = sources
    os.environ["PYTHONPATH"] = os.pathsep.join(sources)
    return int(pytest.main(arguments, plugins=[Reporter(nonce, sink)]))


if __name__ == "__main__":
    sys.exit(main())
