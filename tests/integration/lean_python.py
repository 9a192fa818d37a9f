"""A Python environment with pytest and nothing else: where pytest finds the plugins of the environment that runs our
own tests, it loads them too, which takes three times as long as pytest itself."""

import atexit
import shutil
import tempfile
import venv
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PACKAGES = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
OF_OLDER_PYTHONS = ("exceptiongroup", "tomli", "typing_extensions")


@cache
def lean_python() -> str:
    """Its directory, as `--python` takes it; one for each process of tests."""
    directory = Path(tempfile.mkdtemp(prefix="turnmix-lean-python-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    directory.chmod(0o755)  # Sandboxes run as another user.
    venv.create(directory, symlinks=True)
    (site,) = directory.glob("lib/python3*/site-packages")
    for name in (*PACKAGES, *OF_OLDER_PYTHONS):
        try:
            files = distribution(name).files
        except PackageNotFoundError:
            if name in OF_OLDER_PYTHONS:
                continue
            raise
        for file in files or ():
            if ".." not in file.parts and (source := Path(file.locate())).exists():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, site / file)
    return str(directory)
