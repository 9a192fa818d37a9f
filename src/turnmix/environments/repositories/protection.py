"""What a patch must not decide a verdict with, kept aside before it comes and put back after it.

Kept are files that steer the test runner or the interpreter, wherever they lie; the files of the test patch and the
hidden files; the directories of tests, and test files with tests that count; and the repository's own test runners.
Only the test patch's and the hidden files are kept where the fix itself touches them. Modules that a patch adds in the
place of others (`shadows`) are removed. What matters is what lies there when the patch has been applied, not how the
patch is written.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
import shlex
from dataclasses import dataclass
from importlib import resources

from turnmix.core.errors import SandboxError
from turnmix.environments.repositories.commands import must_run, must_write
from turnmix.environments.repositories.image.preparation import TRUST
from turnmix.environments.repositories.patch_application import APPLY_SECONDS, BEFORE, GRADING, changed_paths
from turnmix.environments.repositories.patch_text import encoded
from turnmix.environments.repositories.runner_files import is_inside, runner_files
from turnmix.environments.repositories.shadows import KNOWN, candidates
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.environments.repositories.test_paths import (
    CONFIGURATION,
    TEST_DIRECTORY,
    TOP_TEST_DIRECTORIES,
    is_test_path,
)
from turnmix.sandboxes.sandbox import Sandbox

INTERPRETER = ("sitecustomize", "sitecustomize.*", "usercustomize", "usercustomize.*", "*.pth")
"""Patterns of names that the interpreter imports, or reads, by itself."""
STEERING = (
    *(
        "conftest",
        "conftest.*",
        ".coveragerc*",
        ".noserc",
        "nose.cfg",
        "unittest.cfg",
        ".stestr.conf",
        ".testr.conf",
    ),
    *("runtests.*", "run_tests.*", "noxfile.py", "tox.toml", ".env", ".flaskenv", ".gitattributes"),
    *("jest.config.*", "vitest.config.*", "vitest.workspace.*", ".mocharc*", "karma.conf.*", "ava.config.*"),
    *("phpunit.xml", "phpunit.xml.dist", ".rspec"),
)
"""Patterns of names that test runners read, or that run tests, beside pytest's own configuration."""
METADATA = ("*.dist-info", "*.egg-info", "*.egg-link", "*.egg", "egg-info")
"""Patterns of names by which plugins of pytest and of other programs are found; upper and lower case are one."""
LARGEST_TEST_FILE = 16 << 20
"""Larger ones are data, and not kept aside."""
MOST_TOLD = 20
_LISTED, _KEPT, _COPY = f"{GRADING}/listed", f"{GRADING}/kept", f"{GRADING}/kept.tar"
_ALL, _WRITTEN, _NAMES = f"{GRADING}/all", f"{GRADING}/written", f"{GRADING}/importable_names.py"
_THERE = 'for path; do if [ -e "$path" ] || [ -L "$path" ]; then printf "%s\\0" "$path"; fi; done'
_NOT_PATCHED = "-path ./.git -prune -o -name site-packages -prune -o -name dist-packages -prune"
_CACHES = "\\( -path '*/__pycache__/*' -o -name '*.pyc' -o -name '*.pyo' \\) ! -type d"
_LISTING_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What lies in the repository is what the tests may run on."""

    set_aside: tuple[str, ...] = ()
    """Files of the patch, and directories, that are not used for the verdict; the first of them."""
    misfit: str | None = None
    """Why the files of the tests could not be put back; None: they are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What has been kept, to be put back once the patch has been applied."""

    row: TaskRow
    restore: str
    """The shell command that says what it sets aside, and puts back what was kept."""
    expected: tuple[str, ...]
    """Files of the fix and of the test patch."""
    tests: tuple[str, ...]
    """Files of the tests that count."""

    async def put_back(self, sandbox: Sandbox) -> Restored:
        """Raises SandboxError: the sandbox failed."""
        directory = self.row.working_directory
        restored = await sandbox.run(
            self.restore, working_directory=directory, timeout=APPLY_SECONDS, output_limit=_LISTING_BYTES
        )
        told, added, links = [_paths(part) for part in [*restored.output.split(b"\0\0"), b"", b""][:3]]
        if restored.exit_code != 0:  # the patch put something in a file's place that cannot be replaced
            return Restored(misfit=restored.output[-2000:].decode(errors="replace"))
        shadows = await self._shadows(added, links, sandbox) if added else []
        if shadows:
            listed = b"".join(encoded(path) + b"\0" for path in shadows)
            await must_run(sandbox, "xargs -0 rm -rf --", directory, stdin=listed)
        return Restored(set_aside=tuple(dict.fromkeys([*shadows, *told]))[:MOST_TOLD])

    async def _shadows(self, added: list[str], links: list[str], sandbox: Sandbox) -> list[str]:
        """Paths of modules that the patch puts before others."""
        if not any(path.endswith((".py", ".so")) or path in links for path in added):
            return []
        listing = await sandbox.run(f"cat {_ALL}", output_limit=_LISTING_BYTES)
        root = self.row.working_directory.rstrip("/") + "/"
        sources = [path.removeprefix(root) for path in self.row.source_directories if path.startswith(root)]
        found = await asyncio.to_thread(
            candidates,
            added,
            links=links,
            before=_paths(listing.output),
            expected=self.expected,
            tests=self.tests,
            roots=sources,
        )
        if not found:
            return []
        names = KNOWN if all(one.is_test for one in found) else KNOWN | await self._importable(sandbox)
        return [one.path for one in found if one.is_test or one.name in names]

    async def _importable(self, sandbox: Sandbox) -> frozenset[str]:
        """The names of modules that are installed; none where there is no Python."""
        script = f"{{ {self.row.activation or ':'}\n}} > /dev/null 2>&1; cd /; unset PYTHONPATH\n"
        tree = shlex.quote(self.row.working_directory)
        script += f"python {_NAMES} {tree} 2> /dev/null || python3 {_NAMES} {tree} 2> /dev/null"
        shell = "exec bash -s" if self.row.activation else "exec sh -s"
        told = await sandbox.run(shell, stdin=encoded(script), timeout=APPLY_SECONDS)
        return frozenset(told.output.decode(errors="replace").split()) if told.exit_code == 0 else frozenset()


async def keep_protected(row: TaskRow, sandbox: Sandbox) -> Protection:
    """Keep what the patch must not change, as it lies in the repository now.

    Raises:
        SandboxError: the sandbox failed, or git cannot read the row's test patch.
    """
    directory = row.working_directory
    await must_run(sandbox, f"mkdir -p {GRADING}; {TRUST}", directory)
    program = resources.files("turnmix.environments.repositories.inside") / "importable_names.py"
    await must_write(sandbox, _NAMES, program.read_bytes())
    tests = await changed_paths(row.test_patch, directory, sandbox) if row.test_patch else ()
    if tests is None:
        raise SandboxError(f"{row.instance_id}: test_patch: git cannot read it")
    fixed = await changed_paths(row.gold_patch, directory, sandbox) or ()
    root = directory.rstrip("/") + "/"
    hidden = [path.removeprefix(root).encode() for path in row.hidden_paths if path.startswith(root)]
    counted = _test_files(row)
    others = map(encoded, (*row.test_files, *counted, *runner_files(row.evaluation_script)))
    listed = dict.fromkeys([*tests, *hidden, *(path for path in others if path not in fixed)])
    find = _Find(fixed)
    keep = (
        f"cat > {_LISTED}; find . -path ./.git -prune -o ! -type d -print0 | LC_ALL=C sort -z > {_ALL}; "
        f"{{ {find.kept()}; xargs -0 sh -c {shlex.quote(_THERE)} sh < {_LISTED}; }} > {_KEPT}"
        f" && tar -cf {_COPY} --null --verbatim-files-from -T {_KEPT}"
    )
    await must_run(sandbox, keep, directory, stdin=b"".join(path + b"\0" for path in listed))
    holders = _holders([path.decode(errors="surrogateescape") for path in listed])
    restore = (
        f"{find.written()} | LC_ALL=C sort -z > {_WRITTEN}; {find.told()}; printf '\\0\\0'; "
        f"LC_ALL=C comm -z -13 {_ALL} {_WRITTEN}; printf '\\0\\0'; {find.written('-type l')}; "
        f"{{ {find.removed()}; {_clear(holders)} xargs -0 rm -rf -- < {_LISTED}; }} > /dev/null 2>&1; "
        f"tar -xf {_COPY} 2>&1"
    )
    expected = (path.decode(errors="surrogateescape") for path in (*tests, *fixed))
    files = dict.fromkeys((*counted, *filter(is_test_path, row.test_files)))
    return Protection(row=row, restore=restore, expected=tuple(expected), tests=tuple(files))


class _Find:
    """Commands of `find` in the repository."""

    def __init__(self, fixed: tuple[bytes, ...]) -> None:
        names = [f"-name {shlex.quote(name)}" for name in (*CONFIGURATION, *INTERPRETER, *STEERING)]
        names += [f"-iname {shlex.quote(name)}" for name in METADATA]
        tops = [f"-path './{top}/*' -o -path ./{top}" for top in TOP_TEST_DIRECTORIES]
        tests = " -o ".join([*tops, f"-path '*/{TEST_DIRECTORY}/*'", f"-name {TEST_DIRECTORY}"])
        paths = [path.decode(errors="surrogateescape") for path in fixed]
        but = " ".join(f"! -path {shlex.quote(_literally(path))}" for path in (*paths, *_holders(paths)))
        self._steering = f"\\( {' -o '.join(names)} \\) {but}"
        self._tests = f"\\( {tests} \\) ! -type d {but}"

    def kept(self) -> str:
        size = f"! -size +{LARGEST_TEST_FILE >> 10}k"
        return f"find . {_NOT_PATCHED} -o {self._steering} -prune -print0 -o {self._tests} {size} -print0"

    def written(self, which: str = "! -type d") -> str:
        return f"find . {_NOT_PATCHED} -o {which} -cnewer {BEFORE} -print0"

    def told(self) -> str:
        steering = f"{self._steering} -prune -cnewer {BEFORE} -print0"
        return f"find . {_NOT_PATCHED} -o {steering} -o \\( {self._tests} -o {_CACHES} \\) -cnewer {BEFORE} -print0"

    def removed(self) -> str:
        written = f"\\( {self._tests} -o {_CACHES} \\) -cnewer {BEFORE} -exec rm -f -- {{}} +"
        return f"find . {_NOT_PATCHED} -o {self._steering} -prune -exec rm -rf -- {{}} + -o {written}"


def _clear(holders: list[str]) -> str:
    """The command that removes what a patch has put in the place of directories."""
    if not holders:
        return ""
    paths = " ".join(shlex.quote(f"./{path}") for path in holders)
    return f"find {paths} -maxdepth 0 ! -type d -cnewer {BEFORE} -exec rm -f -- {{}} + ;"


def _holders(paths: list[str]) -> list[str]:
    """The directories that paths lie in, but the root."""
    found: dict[str, None] = {}
    for path in paths:
        while (path := posixpath.dirname(path)) not in ("", "/") and path not in found:
            found[path] = None
    return list(found)


def _test_files(row: TaskRow) -> list[str]:
    """The files of the tests that count, as far as the tests' names tell."""
    names = (test.split("::")[0] for test in (*row.fail_to_pass, *row.pass_to_pass) if "::" in test)
    paths = map(posixpath.normpath, names)
    return [path for path in dict.fromkeys(paths) if is_test_path(path) and is_inside(path)]


def _paths(listed: bytes) -> list[str]:
    """What `find . -print0` says, without the point."""
    paths = (path.removeprefix(b"./").decode(errors="surrogateescape") for path in listed.split(b"\0"))
    return [path for path in paths if path]


def _literally(path: str) -> str:
    """The pattern by which `find` finds this file alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", "./" + path)
