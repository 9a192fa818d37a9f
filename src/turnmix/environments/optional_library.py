"""Libraries of extras, without which a world is not there."""

from __future__ import annotations

import contextlib
import importlib
import sys
from types import ModuleType

from turnmix.core.errors import MissingDependencyError


def optional_library(name: str, *, source: str, extra: str, package: str | None = None) -> ModuleType:
    """A module of a library that the task source `source` needs, and TurnMix's `extra` installs.

    Raises:
        MissingDependencyError: it is not installed; named as `package`, else as the module's own.
    """
    try:
        # What libraries print while they load is kept off standard output, which is TurnMix's.
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"tasks.source: {source!r}: it needs the package {package or name.partition('.')[0]} ({error}): "
            f"pip install 'turnmix[{extra}]'"
        ) from error
