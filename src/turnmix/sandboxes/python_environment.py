"""A Python environment of this machine, shown read-only inside a sandbox: for tests that need packages.

In: the directory of a virtual environment, or of any Python installation. Out: the directories to show
at the same paths inside, and the variables that make `python` mean this one. Only what is visibly a Python
installation is shown: a wrong path must not open the user's files to an agent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from turnmix.core.errors import UserError

SYSTEM = Path("/usr")
REFUSED = ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/proc", "/root",
           "/run", "/sbin", "/srv", "/sys", "/tmp", "/testbed", "/var")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonEnvironment:
    """What a sandbox needs in order to run one Python."""

    directory: str
    binds: tuple[str, ...]
    """Directories to show read-only, at the paths they have here."""

    def variables(self, path: str) -> dict[str, str]:
        """What to set where PATH is otherwise `path`."""
        return {"PATH": f"{self.directory}/bin:{path}", "VIRTUAL_ENV": self.directory}


@lru_cache
def find_python_environment(directory: str) -> PythonEnvironment:
    """The environment in `directory`.

    Raises:
        UserError: there is no Python environment there, or showing it would show more than Python.
    """
    root = Path(os.path.abspath(os.path.expanduser(directory)))
    python = root / "bin" / "python"
    if not os.access(python, os.X_OK):
        raise UserError(
            f"Python environment {directory}: there is no {python}. Make one and install what the tests need: "
            f"python3 -m venv {directory} && {directory}/bin/pip install pytest"
        )
    binds = [root] if root != SYSTEM else []
    # A virtual environment's interpreter is a link to that of the installation it was made from.
    home = Path(os.path.realpath(python)).parent.parent
    if home != root and not home.is_relative_to(SYSTEM):
        binds.append(home)
    for bind in binds:
        own = [Path.home(), *Path.home().parents]
        if str(bind) in REFUSED or bind in own or not (bind / "lib").is_dir():
            raise UserError(
                f"Python environment {directory}: it needs {bind} inside the sandbox, which is no directory of "
                "Python alone. Make a virtual environment in a directory of its own"
            )
    return PythonEnvironment(directory=str(root), binds=tuple(map(str, binds)))
