"""Which code of a user's own a run was made with.

In: names of plugins that are loaded. Out: the version of each one's distribution, or a digest of its files.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from turnmix.core.plugins import package_of

_DIGITS = 16
"""Hexadecimal digits of a digest that are noted."""


def plugin_versions(names: Iterable[str]) -> dict[str, str]:
    """Of the plugins that are loaded: distribution -> version; of what was not installed, package -> digest of its
    Python files."""
    found: dict[str, str] = {}
    for name in names:
        module = sys.modules.get(name.partition(":")[0])
        file = None if module is None else getattr(module, "__file__", None)
        if module is None or file is None:
            continue
        if (distribution := _distribution_of(Path(file))) is not None:
            found[distribution.name] = distribution.version
        else:
            found[package_of(name)] = _digest(package_of(name), Path(file))
    return found


def _distribution_of(file: Path) -> metadata.Distribution | None:
    """The one that installed a file."""
    for distribution in metadata.distributions():
        place = Path(str(distribution.locate_file("")))
        if file.is_relative_to(place):
            # Asking it for its files would make an object of each.
            listed = distribution.read_text("RECORD") or ""
            if f"\n{file.relative_to(place).as_posix()}," in f"\n{listed}":
                return distribution
    return None


def _digest(package: str, file: Path) -> str:
    """Of all Python files of a package, or of the one that a module is."""
    top = sys.modules.get(package)
    folders = [Path(path) for path in getattr(top, "__path__", ())]
    files = sorted(path for folder in folders for path in folder.rglob("*.py")) or [file]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"sha256:{digest.hexdigest()[:_DIGITS]}"
