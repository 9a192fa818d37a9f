"""Which of TurnMix's own readers reads a log, by the name in a row's `log_parser`; swebench reads the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from turnmix.environments.repositories.logs.r2e_log import read_r2e_log
from turnmix.environments.repositories.logs.unittest_log import read_unittest_log

LogReader = Callable[[str], Mapping[str, str]]
"""A log to outcomes by test, of which PASSED is one."""

READERS: Mapping[str, LogReader] = {"r2e": read_r2e_log, "unittest": read_unittest_log}
PYTEST_PARSERS = ("parse_log_pytest", "parse_log_pytest_options", "parse_log_pytest_v2")
"""Those of swebench that read what pytest itself prints."""
