"""What an analysis comes to, remembered in this process for as long as its files stay as they are.

A report asks the same of an analysis for its plots, its tables and its comparison, and to read trajectories is nearly
all that it takes. What is remembered is small: figures by trajectory, not what was said in it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

MOST_REMEMBERED = 512
"""Answers of one function. Of more analyses than that, each is read anew."""

Stamp = tuple[tuple[Path, int, int, int], ...]


class HasFiles(Protocol):
    """Something that is read from files."""

    def __hash__(self) -> int: ...

    def files(self) -> Iterable[Path]:
        """All that an answer may depend on, as they are by now."""
        ...


Given = ParamSpec("Given")
Subject = TypeVar("Subject", bound=HasFiles)
Answer = TypeVar("Answer")


def remembered(
    function: Callable[Concatenate[Subject, Given], Answer],
) -> Callable[Concatenate[Subject, Given], Answer]:
    """`function`, which answers at once what it was asked before of files that have not changed since. Its answer is
    shared by all who ask, who must leave it as it is; an error is not remembered."""
    answers: OrderedDict[Hashable, tuple[Stamp, Answer]] = OrderedDict()

    @wraps(function)
    def answer(subject: Subject, /, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        key = (subject, args, tuple(sorted(kwargs.items())))
        stamp = stamp_of(subject.files())
        held = answers.pop(key, None)
        if held is None or held[0] != stamp:
            held = (stamp, function(subject, *args, **kwargs))
        answers[key] = held
        if len(answers) > MOST_REMEMBERED:
            answers.popitem(last=False)
        return held[1]

    return answer


def stamp_of(files: Iterable[Path]) -> Stamp:
    """Which files are there, and as of when: another one wherever one of them was written to."""
    found = []
    for path in sorted(files):
        try:
            told = path.lstat()
        except OSError:
            continue
        found.append((path, told.st_ino, told.st_size, told.st_mtime_ns))
    return tuple(found)


def files_in(*directories: Path) -> list[Path]:
    """All in these directories themselves, of those that are there."""
    found = []
    for directory in directories:
        try:
            found += [directory / name for name in os.listdir(directory)]
        except OSError:
            continue
    return found
