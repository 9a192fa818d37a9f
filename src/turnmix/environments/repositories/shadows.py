"""Modules that a patch adds in the place of others: of the standard library, of what is installed, of the tests.

In: what a patch has written, and what lay there before. Out: the paths that stand, on a path that imports are
looked for on, before a module that the test runner imports. A repository's own modules of such a name, which lay there
before, are none of these.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass

RUNNER = frozenset((
    "pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "tomli", "exceptiongroup", "attr", "attrs",
    "pygments", "colorama", "argcomplete", "atomicwrites", "wcwidth", "more_itertools", "importlib_metadata",
    "importlib_resources", "zipp", "typing_extensions", "xdist", "execnet", "psutil", "setproctitle", "pexpect",
    "ptyprocess", "coverage", "pytest_cov", "hypothesis", "nose", "nose2", "unittest2", "mock", "six",
    "pkg_resources", "setuptools", "distutils", "imp", "asyncore", "asynchat", "smtpd", "cgi", "telnetlib",
    "pyreadline3", "numpy", "greenlet", "gevent", "eventlet", "django", "twisted", "zope"))  # fmt: skip
"""Names that test runners import, or try to, whether they are installed or not; and modules that older versions of
Python have."""
KNOWN = RUNNER | sys.stdlib_module_names
_ENDINGS = ("py", "pyc", "so")
_PACKAGE = "__init__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A module that a patch adds where imports may find it."""

    path: str
    name: str
    is_test: bool
    """It stands before a file of the tests, or makes a package of a directory of them: set aside whatever its name."""


def candidates(
    added: Iterable[str],
    *,
    links: Collection[str],
    before: Iterable[str],
    expected: Iterable[str],
    tests: Iterable[str],
    roots: Collection[str] = (),
) -> list[Candidate]:
    """
    In:
        added: the files that the patch has added, relative to the repository.
        links: those of them that are symbolic links.
        before: the files that lay there before the patch.
        expected: files of the fix and of the test patch: what they add is none of these.
        tests: the files of the tests that count.
        roots: directories that imports are looked for in, though they are packages themselves.

    >>> def found(*added, before=("shelf/__init__.py", "tests/test_a.py"), **more):
    ...     given = {"links": (), "expected": (), "tests": ["tests/test_a.py"], "before": before, **more}
    ...     return [candidate.path for candidate in candidates(added, **given)]
    >>> found("json.py", "shelf/json.py", "new/json.py", "json.md"), found("json.py", before=["json.py"])
    (['json.py'], [])
    >>> found("pytest/__init__.py", "pytest/x.py", "tests/__init__.py"), found("json.py", expected=["json.py"])
    (['pytest', 'tests/__init__.py'], [])
    >>> found("json/__init__.py", before=["json/a.json"])
    ['json/__init__.py']
    >>> found("src/json.py", "src/a/json.py", before=["src/a/__init__.py"])
    ['src/json.py']
    """
    new = [path for path in added if _is_module(path) or path in links]
    if not new:
        return []
    files = set(before)
    directories = {"", *_directories(files)}
    packages = {posixpath.dirname(path) for path in files if _split(path)[1] == _PACKAGE}
    modules = {_split(path) for path in (*filter(_is_module, files), *packages)}
    allowed = {_split(place) for path in expected for place in (path, *_directories([path]))}
    tested = list(tests)
    guarded = {_split(path) for path in tested}
    holders = {"", *_directories(tested)}

    def is_searched(directory: str) -> bool:
        """Imports may look here: nothing above it is a package."""
        return directory in ("", *roots) or not packages & {directory, *_directories([directory])}

    found: dict[str, Candidate] = {}
    for path in new:
        place, (parent, name) = path, _split(path)
        is_test = (parent, name) in guarded or (name == _PACKAGE and parent in holders)
        if name == _PACKAGE and parent:  # it is the directory that is imported
            place = path if parent in directories else parent
            is_test = is_test or _split(parent) in guarded
            parent, name = _split(parent)
        is_other = parent in directories and (parent, name) not in modules and is_searched(parent)
        if _split(path) not in allowed and (is_test or (is_other and (parent, name) not in allowed)):
            found[place] = Candidate(path=place, name=name, is_test=is_test)
    return list(found.values())


def _is_module(path: str) -> bool:
    return path.rpartition(".")[2] in _ENDINGS


def _split(path: str) -> tuple[str, str]:
    """Directory and name, without its endings, of a file or a directory."""
    directory, _, name = path.rpartition("/")
    return directory, name.partition(".")[0]


def _directories(paths: Iterable[str]) -> set[str]:
    """All that paths lie in, but the root."""
    found: set[str] = set()
    for path in paths:
        while (path := posixpath.dirname(path)) and path not in found:
            found.add(path)
    return found
