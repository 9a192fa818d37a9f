"""What a patch must not decide a verdict with, kept aside before it comes and put back after it.

Kept are files that steer pytest or the interpreter, wherever they lie; the files of the test patch and the hidden
files; test files with tests that count, and the repository's own test runners. Only the test patch's and the hidden
files are kept where the fix itself touches them. What matters is what lies there when the patch has been applied,
not how the patch is written.
"""

from __future__ import annotations

import posixpath
import re
import shlex

from turnmix.core.errors import SandboxError
from turnmix.environments.swe.adapters.evaluation_script import END, START
from turnmix.environments.swe.application import GRADING, changed_paths
from turnmix.environments.swe.execution import CONFIGURATION, is_test_path
from turnmix.environments.swe.image_repository import TRUST
from turnmix.environments.swe.laying import encoded, must_run
from turnmix.environments.swe.task_file import TaskRow
from turnmix.sandboxes.sandbox import Sandbox

INTERPRETER = ("sitecustomize", "sitecustomize.*", "usercustomize", "usercustomize.*")
"""Patterns of names that the interpreter imports by itself."""
_LISTED, _KEPT, _COPY = f"{GRADING}/listed", f"{GRADING}/kept", f"{GRADING}/kept.tar"
_THERE = 'for path; do if [ -e "$path" ] || [ -L "$path" ]; then printf "%s\\0" "$path"; fi; done'
_ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
_OPERATOR = re.compile(r"[();|&]+")


async def keep_protected(row: TaskRow, sandbox: Sandbox) -> str:
    """Keep what the patch must not change. Returns the shell command that puts it back in its place.

    Raises:
        SandboxError: the sandbox failed, or git cannot read the row's test patch.
    """
    directory = row.working_directory
    await must_run(sandbox, f"mkdir -p {GRADING}; {TRUST}", directory)
    tests = await changed_paths(row.test_patch, directory, sandbox) if row.test_patch else ()
    if tests is None:
        raise SandboxError(f"{row.instance_id}: test_patch: git cannot read it")
    fixed = await changed_paths(row.gold_patch, directory, sandbox) or ()
    root = directory.rstrip("/") + "/"
    hidden = (path.removeprefix(root).encode() for path in row.hidden_paths if path.startswith(root))
    others = (encoded(path) for path in (*_test_files(row), *_test_runners(row.evaluation_script)))
    listed = dict.fromkeys([*tests, *hidden, *(path for path in others if path not in fixed)])
    names = " -o ".join(f"-name {shlex.quote(name)}" for name in (*CONFIGURATION, *INTERPRETER))
    but = " ".join(f"! -path {shlex.quote(_literally(path))}" for path in fixed)
    steering = f"find . -path ./.git -prune -o \\( {names} \\) {but} -prune"
    keep = (
        f"cat > {_LISTED}; {{ {steering} -print0; xargs -0 sh -c {shlex.quote(_THERE)} sh < {_LISTED}; }} > {_KEPT}"
        f" && tar -cf {_COPY} --null --verbatim-files-from -T {_KEPT}"
    )
    await must_run(sandbox, keep, directory, stdin=b"".join(path + b"\0" for path in listed))
    return f"{steering} -exec rm -rf -- {{}} + ; xargs -0 rm -rf -- < {_LISTED}; tar -xf {_COPY}"


def _test_files(row: TaskRow) -> list[str]:
    """The files of the tests that count, as far as the tests' names tell."""
    names = (test.split("::")[0] for test in (*row.fail_to_pass, *row.pass_to_pass) if "::" in test)
    paths = map(posixpath.normpath, names)
    return [path for path in dict.fromkeys(paths) if is_test_path(path) and _is_inside(path)]


def _test_runners(script: str) -> list[str]:
    """The programs of the repository that an evaluation script runs the tests with.

    >>> _test_runners(": '>>>>> Start Test Output'\\nX='1 2' ./tests/run.py -v a\\n: '>>>>> End Test Output'")
    ['tests/run.py']
    >>> _test_runners(": '>>>>> Start Test Output'\\npytest -rA tests/x.py && bin/test\\n: '>>>>> End Test Output'")
    ['bin/test']
    """
    runners = []
    for line in script.partition(START)[2].partition(END)[0].splitlines()[1:-1]:
        is_first = True
        for word in _words(line):
            if is_first and "/" in word and _is_inside(path := posixpath.normpath(word)):
                runners.append(path)
            if not (is_first and _ASSIGNMENT.fullmatch(word)):
                is_first = _OPERATOR.fullmatch(word) is not None
    return runners


def _words(line: str) -> list[str]:
    """Words and operators of the shell; none where a quotation does not end in its line."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    try:
        return list(words)
    except ValueError:
        return []


def _is_inside(path: str) -> bool:
    return not path.startswith(("/", "../"))


def _literally(path: bytes) -> str:
    """The pattern by which `find` finds this file alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", "./" + path.decode(errors="surrogateescape"))
