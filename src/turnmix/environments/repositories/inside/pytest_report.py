"""Runs pytest and reports what each test came to, on lines that only this run can write.

In: a nonce on standard input; the source directories and pytest's arguments, divided by `--`. Out: one
line a test on standard output, `@NONCE {"id": …, "outcome": …}`. The code under test is imported only after
the nonce has been read, and pytest and the plugins that are installed loaded, so neither what it prints nor how it
exits can pass for a result. Code written against this very program can: it runs in the same process, as under every
test runner.
"""

from __future__ import annotations

import functools
import importlib.metadata
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


class Loading:
    """Keeps the sources out of the path while pytest loads the plugins that are installed.

    Where the sources hold such a plugin, they are what is tested, and stay.
    """

    def __init__(self, sources: list[str]) -> None:
        self._sources = sources

    def pytest_plugin_registered(self, plugin: object, manager: Any) -> None:
        if plugin is self:
            load = manager.load_setuptools_entrypoints
            manager.load_setuptools_entrypoints = functools.partial(self._load, load)

    def _load(self, load: Any, *arguments: Any, **further: Any) -> Any:
        path = sys.path[:]
        sys.path[:] = [entry for entry in path if entry not in self._sources]
        if any(map(self._holds, _plugins())):
            sys.path[:] = path
        try:
            return load(*arguments, **further)
        finally:
            sys.path[:0] = [entry for entry in self._sources if entry not in sys.path]

    def _holds(self, module: str) -> bool:
        places = [os.path.join(source, module) for source in self._sources]
        return any(os.path.isdir(place) or os.path.isfile(place + ".py") for place in places)


def _plugins() -> set[str]:
    """The names by which plugins of pytest are imported."""
    found = importlib.metadata.entry_points()
    select = getattr(found, "select", None)  # not before Python 3.10
    entries = found.get("pytest11", ()) if select is None else select(group="pytest11")
    return {entry.value.partition(":")[0].partition(".")[0].strip() for entry in entries}


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
    return int(pytest.main(arguments, plugins=[Loading(sources), Reporter(nonce, sink)]))


if __name__ == "__main__":
    sys.exit(main())
