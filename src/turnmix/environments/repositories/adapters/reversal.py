"""A patch turned round: what it adds, the reverse removes. SWE-smith's patches are bugs; their reverse is gold.

In: git's unified diff of text files. Out: the diff that takes it back.
"""

from __future__ import annotations

import re

from turnmix.environments.repositories.adapters.git_lines import git_lines

_HUNK = re.compile(r"@@ -(\S+) \+(\S+) @@(.*)", re.DOTALL)


def reversed_patch(patch: str) -> str:
    """
    >>> print(reversed_patch("diff --git a/x b/x\\n--- a/x\\n+++ b/x\\n@@ -1,2 +1 @@ f\\n one\\n-two\\n"), end="")
    diff --git a/x b/x
    --- a/x
    +++ b/x
    @@ -1 +1,2 @@ f
     one
    +two

    Raises:
        ValueError: it is no such diff.
    """
    sections = re.split(r"^(?=diff --git )", patch, flags=re.MULTILINE)
    if len(sections) == 1 or sections[0].strip():
        raise ValueError("patch: not a diff as git writes it")
    return "".join(map(_reversed_section, sections[1:]))


def _reversed_section(section: str) -> str:
    lines = git_lines(section)
    first_hunk = next((number for number, line in enumerate(lines) if line.startswith("@@ ")), len(lines))
    return "".join([*_reversed_header(lines[:first_hunk]), *_reversed_hunks(lines[first_hunk:])])


def _reversed_header(lines: list[str]) -> list[str]:
    swapped = {
        "new file mode": "deleted file mode",
        "deleted file mode": "new file mode",
        "old mode": "new mode",
        "new mode": "old mode",
        "rename from": "rename to",
        "rename to": "rename from",
    }
    header: list[str] = []
    old = new = ""
    for line in lines:
        key = next((key for key in swapped if line.startswith(key + " ")), None)
        if line.startswith("GIT binary patch") or line.startswith("Binary files"):
            raise ValueError("patch: changes a binary file, which cannot be turned round")
        if line.startswith("--- "):
            old = line[4:]
        elif line.startswith("+++ "):
            new = line[4:]
        elif match := re.match(r"index (\w+)\.\.(\w+)(.*)", line, re.DOTALL):
            header.append(f"index {match[2]}..{match[1]}{match[3]}")
        else:
            header.append(line if key is None else swapped[key] + line[len(key) :])
    if old and new:
        header += [f"--- {_other_side(new)}", f"+++ {_other_side(old)}"]
    header.sort(key=lambda line: line.startswith("new mode"))  # `old mode` comes first
    header.sort(key=_place)
    return header


def _other_side(path: str) -> str:
    """
    >>> _other_side("b/x"), _other_side("a/x"), _other_side("/dev/null")
    ('a/x', 'b/x', '/dev/null')
    """
    return {"a/": "b/", "b/": "a/"}.get(path[:2], path[:2]) + path[2:]


def _place(line: str) -> int:
    order = ("diff --git ", "old mode ", "new mode ")
    found = next((number for number, beginning in enumerate(order) if line.startswith(beginning)), 3)
    return 5 if line.startswith(("--- ", "+++ ")) else found


def _reversed_hunks(lines: list[str]) -> list[str]:
    """Signs swapped; within a change, what is removed comes before what is added."""
    reversed_lines: list[str] = []
    removed: list[str] = []
    added: list[str] = []
    side = reversed_lines
    for line in lines:
        if match := _HUNK.fullmatch(line):
            reversed_lines += [*removed, *added, f"@@ -{match[2]} +{match[1]} @@{match[3]}"]
            removed, added = [], []
            side = reversed_lines
        elif line.startswith("-"):
            side = added
            side.append("+" + line[1:])
        elif line.startswith("+"):
            side = removed
            side.append("-" + line[1:])
        elif line.startswith("\\"):
            side.append(line)  # of the line before it
        else:
            reversed_lines += [*removed, *added, line]
            removed, added = [], []
            side = reversed_lines
    return [*reversed_lines, *removed, *added]
