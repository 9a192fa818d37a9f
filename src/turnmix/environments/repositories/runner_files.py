"""The files of a repository that run its tests, as far as the commands of an evaluation script name them.

A command runs a program of the repository (`./tests/runtests.py`), an interpreter runs a script of it
(`python test.py`), or a tool reads a file of its own name (`make check`): whoever writes such a file decides what the
tests come to.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator

from turnmix.environments.repositories.adapters.evaluation_script import END, START

READ_BY = {
    "make": ("GNUmakefile", "makefile", "Makefile"),
    "gmake": ("GNUmakefile", "makefile", "Makefile"),
    "tox": ("tox.toml",),
    "nox": ("noxfile.py",),
    "invoke": ("tasks.py",),
    "inv": ("tasks.py",),
    "just": ("justfile", "Justfile", ".justfile"),
    "rake": ("Rakefile", "rakefile", "Rakefile.rb", "rakefile.rb"),
    **dict.fromkeys(
        ("npm", "npx", "yarn", "pnpm", "bun"),
        ("package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", "bunfig.toml"),
    ),
    "cargo": (".cargo/config", ".cargo/config.toml"),
}
"""By a tool: the files in the root that say what it runs."""
_INTERPRETER = re.compile(r"(python|pypy|ruby|perl|php|node|bash|sh|dash|zsh|pytest)[\d.]*")
_TRANSPARENT = re.compile(
    r"env|exec|command|time|timeout|nice|sudo|xvfb-run|uv|poetry|pipenv|pdm|hatch|run|[\d.]+[smh]?|-\S*"
)
"""Words before the program that is run; of `uv run --no-sync pytest` all but the last."""
_ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
_OPERATOR = re.compile(r"[();|&]+")


def runner_files(script: str) -> list[str]:
    """
    >>> def files(command):
    ...     return runner_files(f": '{START}'\\n{command}\\n: '{END}'")
    >>> files("X='1 2' ./tests/run.py -v a"), files("pytest -rA tests/x.py && bin/test")
    (['tests/run.py'], ['bin/test'])
    >>> files("python -W ignore check.py --verbose; python -m pytest a.py"), files("timeout 9 bash run.sh")
    (['check.py'], ['run.sh'])
    >>> files("tox -e py")
    ['tox.toml']
    """
    found: list[str] = []
    for line in script.partition(START)[2].partition(END)[0].splitlines()[1:-1]:
        for command in _commands(line):
            found += _programs_of(command)
    return [path for path in map(posixpath.normpath, found) if is_inside(path)]


def is_inside(path: str) -> bool:
    return not path.startswith(("/", "../")) and path not in (".", "..")


def _commands(line: str) -> Iterator[list[str]]:
    command: list[str] = []
    for word in _words(line):
        if _OPERATOR.fullmatch(word):
            yield command
            command = []
        elif command or not _ASSIGNMENT.fullmatch(word):
            command.append(word)
    yield command


def _programs_of(command: list[str]) -> list[str]:
    first = next(
        (place for place, word in enumerate(command) if not _TRANSPARENT.fullmatch(word)), len(command)
    )
    if not (words := command[first:]):
        return []
    program, arguments = words[0], words[1:]
    name = posixpath.basename(program)
    if name in READ_BY:
        return list(READ_BY[name])
    if "/" in program and not program.startswith("/"):
        return [program]
    if not _INTERPRETER.fullmatch(name) or name == "pytest" or {"-m", "-c"} & set(arguments[:3]):
        return []
    script = next(
        (word for word in arguments if not word.startswith("-") and ("." in word or "/" in word)), None
    )
    return [] if script is None else [script]


def _words(line: str) -> list[str]:
    """Words and operators of the shell; none where a quotation does not end in its line."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    try:
        return list(words)
    except ValueError:
        return []
