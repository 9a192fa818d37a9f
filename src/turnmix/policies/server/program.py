"""Where the program of an engine lies that TurnMix is to start."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from turnmix.core.errors import MissingDependencyError
from turnmix.policies.server.settings import ServerSettings

_SERVE_PACKAGES = ("fastapi", "uvicorn", "openai")


def find_program(settings: ServerSettings) -> list[str]:
    """The program's path, as the first word of a command.

    Raises:
        MissingDependencyError: it is not here, or lacks packages.
    """
    if settings.program is not None:
        if found := shutil.which(settings.program):
            return [found]
        raise MissingDependencyError(
            f"student.server.program: {settings.program!r} is no program here: give its path"
        )
    beside = Path(sys.executable).with_name(settings.engine)
    found = str(beside) if beside.is_file() else shutil.which(settings.engine)
    if settings.engine == "transformers" and beside.is_file():
        absent = [name for name in _SERVE_PACKAGES if importlib.util.find_spec(name) is None]
        if absent:
            raise MissingDependencyError(
                f"student.server.engine: 'transformers' needs the package {absent[0]}: install it with "
                "pip install 'turnmix[serve]'"
            )
    if found is None:
        raise MissingDependencyError(
            f"student.server.engine: there is no program {settings.engine!r} beside this Python or on the PATH: "
            f"install the package {settings.engine} (an environment of its own will do), name its program in "
            "student.server.program, or give a server that runs in student.server.endpoint"
        )
    return [found]
