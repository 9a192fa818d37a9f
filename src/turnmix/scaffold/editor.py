"""`str_replace_editor`: view and edit text files by `Sandbox.read_file` and `write_file`.

A file keeps its encoding, byte order mark and line ends, or the edit is refused with the reason. The undo
history is kept outside the sandbox.
"""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Mapping
from typing import Any

from turnmix.core.message import ToolSpecification
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.directory import list_directory
from turnmix.scaffold.line_ends import matches, with_line_ends
from turnmix.scaffold.observation import error, is_error, printable, quoted
from turnmix.scaffold.text_file import Encoding, NotText, declared_encoding, decoded, encoding_after

SNIPPET_LINES = 4
HISTORY_BYTES = 32 << 20
_MOST_SHOWN_MATCHES = 10


class _NotWritten(Exception):
    """Why a file could not be written, in words for the agent."""


class EditorTool:
    """The editor of one trajectory."""

    specification = ToolSpecification(
        name="str_replace_editor",
        description="View or edit a file: view lines, create a file, replace old_str (must occur once) by "
        "new_str, insert new_str after insert_line.",
        parameters={
            "type": "object",
            "properties": {
                "command": {
                    "type": "string",
                    "enum": ["view", "create", "str_replace", "insert", "undo_edit"],
                },
                "path": {"type": "string", "description": "Absolute path."},
                "file_text": {"type": "string"},
                "old_str": {"type": "string"},
                "new_str": {"type": "string"},
                "insert_line": {"type": "integer"},
                "view_range": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "description": "[first, last]; -1: the end.",
                },
            },
            "required": ["command", "path"],
        },
    )
    ends_trajectory = False

    def __init__(self, *, sandbox: Sandbox, working_directory: str, max_view_characters: int) -> None:
        self._sandbox = sandbox
        self._working_directory = working_directory
        self._max_characters = max_view_characters
        self._history: list[tuple[str, bytes]] = []

    async def call(self, arguments: Mapping[str, Any]) -> str:
        path: str = arguments["path"]
        if not path.startswith("/"):
            suggestion = posixpath.join(self._working_directory, path)
            return error(f"Argument `path` must be absolute. Did you mean {quoted(suggestion, limit=300)}?")
        if "\0" in path:
            return error("Argument `path` must not contain a NUL character.")
        commands = {
            "view": self._view,
            "create": self._create,
            "str_replace": self._replace,
            "insert": self._insert,
            "undo_edit": self._undo,
        }
        path = printable(posixpath.normpath(path))
        try:
            return await commands[arguments["command"]](path, arguments)
        except OSError as failure:
            return error(f"{_reason(failure)}: {path}")
        except (NotText, _NotWritten) as reason:
            return error(str(reason))

    async def close(self) -> None:
        self._history.clear()

    async def _view(self, path: str, arguments: Mapping[str, Any]) -> str:
        view_range: list[int] | None = arguments.get("view_range")
        try:
            text, encoding = decoded(await self._sandbox.read_file(path))
        except IsADirectoryError:
            if view_range is not None:
                return error(f"{path} is a directory: view it without view_range.")
            return self._capped(await list_directory(self._sandbox, path))
        lines = _lines(text)
        if not lines:
            return f"[{path} is empty]"
        if view_range is None:
            return self._capped(_numbered(lines, 1, len(lines)), note=_note(encoding))
        first, last = view_range if len(view_range) == 2 else (0, 0)
        last = len(lines) if last == -1 else last
        if not 1 <= first <= len(lines) or last < first:
            return error(f"Argument `view_range` must be [first, last], lines from 1 to {len(lines)}.")
        return self._capped(_numbered(lines, first, min(last, len(lines))), note=_note(encoding))

    async def _create(self, path: str, arguments: Mapping[str, Any]) -> str:
        if "file_text" not in arguments:
            return error("Command `create` needs the argument `file_text`.")
        try:
            await self._sandbox.read_file(path, limit=0)
        except FileNotFoundError:
            text: str = arguments["file_text"]
            await self._write(path, Encoding(declared_encoding(text)).encoded(text))
            return f"Created {path}."
        except OSError as failure:
            if failure.errno != errno.EFBIG:
                raise
        return error(f"{path} exists already. Edit it with str_replace or insert.")

    async def _replace(self, path: str, arguments: Mapping[str, Any]) -> str:
        if not arguments.get("old_str"):
            return error("Command `str_replace` needs a non-empty argument `old_str`.")
        content = await self._sandbox.read_file(path)
        text, encoding = decoded(content)
        old: str = arguments["old_str"]
        new: str = arguments.get("new_str", "")
        if old == new:
            return error("Arguments `old_str` and `new_str` are the same: nothing to do.")
        encoding.check_added(old)
        encoding.check_added(new)
        found = matches(text, old)
        if not found:
            return error(f"`old_str` was not found in {path}. It must match exactly, with all white space.")
        lines = [text.count("\n", 0, match.start()) + 1 for match in found[:_MOST_SHOWN_MATCHES]]
        if len(found) > 1:
            shown = ", ".join(map(str, lines))
            return error(
                f"`old_str` occurs {len(found)} times in {path}, at lines {shown}. Add lines around it."
            )
        (match,) = found
        new = new if "\r" in old and match[0] == old else with_line_ends(text, match.span(), new)
        if new == match[0]:
            return error("Arguments `old_str` and `new_str` differ in their line ends alone: nothing to do.")
        changed = text[: match.start()] + new + text[match.end() :]
        return await self._edited(path, content, changed, first=lines[0], last=lines[0] + new.count("\n"))

    async def _insert(self, path: str, arguments: Mapping[str, Any]) -> str:
        missing = [name for name in ("insert_line", "new_str") if name not in arguments]
        if missing:
            return error(f"Command `insert` needs the argument `{'` and `'.join(missing)}`.")
        content = await self._sandbox.read_file(path)
        text, encoding = decoded(content)
        encoding.check_added(arguments["new_str"])
        lines = _lines(text, keep_ends=True)
        after: int = arguments["insert_line"]
        if not 0 <= after <= len(lines):
            return error(f"Argument `insert_line` must be between 0 and {len(lines)}, not {after}.")
        # A new line ends as the one before it does, or else as the one after it.
        position = len("".join(lines[: max(0, after - 1)]))
        line_end = with_line_ends(text, (position, position), "\n")
        new = with_line_ends(text, (position, position), arguments["new_str"])
        if after == len(lines) and lines and not lines[-1].endswith("\n"):
            lines[-1] += line_end
        new += "" if new.endswith("\n") else line_end
        changed = "".join([*lines[:after], new, *lines[after:]])
        return await self._edited(path, content, changed, first=after + 1, last=after + new.count("\n"))

    async def _undo(self, path: str, arguments: Mapping[str, Any]) -> str:
        for index in range(len(self._history) - 1, -1, -1):
            if self._history[index][0] == path:
                await self._write(path, self._history[index][1])
                del self._history[index]
                return f"Undid the last edit of {path}."
        return error(f"There is no edit of {path} to undo.")

    async def _edited(self, path: str, before: bytes, after: str, *, first: int, last: int) -> str:
        text, encoding = decoded(before)
        content = encoding_after(encoding, before=text, after=after).encoded(after)
        self._history.append((path, before))
        try:
            await self._write(path, content)
        except _NotWritten:
            if await self._holds(path, before):
                self._history.pop()
            raise
        while sum(len(content) for _, content in self._history) > HISTORY_BYTES:
            del self._history[0]
        lines = _lines(after)
        snippet = _numbered(lines, max(1, first - SNIPPET_LINES), min(len(lines), last + SNIPPET_LINES))
        return self._capped(f"Edited {path}.\n{snippet}")

    async def _write(self, path: str, content: bytes) -> None:
        try:
            await self._sandbox.write_file(path, content)
        except OSError as failure:
            is_large = failure.errno == errno.EFBIG
            reason = "The file would be too large" if is_large else _reason(failure)
            raise _NotWritten(f"{reason}: {path}. Nothing was written.") from failure

    async def _holds(self, path: str, content: bytes) -> bool:
        try:
            return await self._sandbox.read_file(path) == content
        except OSError:
            return False

    def _capped(self, text: str, *, note: str = "") -> str:
        if is_error(text):
            return text
        if len(text) > self._max_characters:
            text = (
                f"{text[: self._max_characters]}\n[Cut at {self._max_characters} characters: use view_range.]"
            )
        return text + note


def _lines(text: str, *, keep_ends: bool = False) -> list[str]:
    """Lines as `cat -n` counts them: by \\n alone, and none after the last \\n."""
    lines = text.split("\n")
    ends = [line + "\n" for line in lines[:-1]] + lines[-1:] if keep_ends else lines
    return ends[:-1] if not lines[-1] else ends


def _numbered(lines: list[str], first: int, last: int) -> str:
    """As `cat -n` prints it."""
    shown = enumerate(lines[first - 1 : last], start=first)
    return "\n".join(f"{number:6}\t{line.rstrip(chr(13))}" for number, line in shown)


def _note(encoding: Encoding) -> str:
    if encoding.name is not None:
        return ""
    return "\n[Not UTF-8, and no encoding is declared: bytes beyond ASCII are shown as \ufffd.]"


def _reason(failure: OSError) -> str:
    if isinstance(failure, FileNotFoundError):
        return "No such file or directory"
    if failure.errno == errno.EFBIG:
        return "The file is too large for the editor"
    return failure.strerror or type(failure).__name__
