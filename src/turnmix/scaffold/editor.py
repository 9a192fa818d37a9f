"""`str_replace_editor`: view and edit text files by `Sandbox.read_file` and `write_file`.

A file keeps its encoding, byte order mark and line ends, or the edit is refused with the reason. The undo
history is kept outside the sandbox.
"""

from __future__ import annotations

import errno
import posixpath
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from turnmix.scaffold.directory import list_directory
from turnmix.scaffold.line_ends import matches, with_line_ends
from turnmix.scaffold.observation import error, is_error, printable, quoted
from turnmix.scaffold.text_file import Encoding, NotText, declared_encoding, decoded, encoding_after
from turnmix.scaffold.tool import Tool

SNIPPET_LINES = 4
HISTORY_BYTES = 32 << 20
_MOST_SHOWN_MATCHES = 10


class _NotWritten(Exception):
    """Why a file could not be written, in words for the agent."""


class Editor(Tool):
    """View or edit a file: view lines, create a file, replace old_str (must occur once) by new_str, insert new_str
    after insert_line."""

    kind: Literal["str_replace_editor"] = "str_replace_editor"
    name = "str_replace_editor"
    is_bounded = True

    _history: list[tuple[str, bytes]] = PrivateAttr(default_factory=list)

    async def call(
        self,
        command: Literal["view", "create", "str_replace", "insert", "undo_edit"],
        path: Annotated[str, Field(description="Absolute path.")],
        file_text: str | None = None,
        old_str: str | None = None,
        new_str: str | None = None,
        insert_line: int | None = None,
        view_range: Annotated[list[int], Field(description="[first, last]; -1: the end.")] | None = None,
    ) -> str:
        if not path.startswith("/"):
            suggestion = posixpath.join(self.parts.working_directory, path)
            return error(f"Argument `path` must be absolute. Did you mean {quoted(suggestion, limit=300)}?")
        if "\0" in path:
            return error("Argument `path` must not contain a NUL character.")
        path = printable(posixpath.normpath(path))
        try:
            if command == "view":
                return await self._view(path, view_range)
            if command == "create":
                return await self._create(path, file_text)
            if command == "str_replace":
                return await self._replace(path, old_str, new_str)
            if command == "insert":
                return await self._insert(path, insert_line, new_str)
            return await self._undo(path)
        except OSError as failure:
            return error(f"{_reason(failure)}: {path}")
        except (NotText, _NotWritten) as reason:
            return error(str(reason))

    async def close(self) -> None:
        self._history.clear()

    async def _view(self, path: str, view_range: list[int] | None) -> str:
        try:
            text, encoding = decoded(await self.parts.sandbox.read_file(path))
        except IsADirectoryError:
            if view_range is not None:
                return error(f"{path} is a directory: view it without view_range.")
            return self._capped(await list_directory(self.parts.sandbox, path))
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

    async def _create(self, path: str, text: str | None) -> str:
        if text is None:
            return error("Command `create` needs the argument `file_text`.")
        try:
            await self.parts.sandbox.read_file(path, limit=0)
        except FileNotFoundError:
            await self._write(path, Encoding(declared_encoding(text)).encoded(text))
            return f"Created {path}."
        except OSError as failure:
            if failure.errno != errno.EFBIG:
                raise
        return error(f"{path} exists already. Edit it with str_replace or insert.")

    async def _replace(self, path: str, old: str | None, new: str | None) -> str:
        if not old:
            return error("Command `str_replace` needs a non-empty argument `old_str`.")
        content = await self.parts.sandbox.read_file(path)
        text, encoding = decoded(content)
        new = new or ""
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

    async def _insert(self, path: str, after: int | None, new: str | None) -> str:
        if after is None or new is None:
            given = {"insert_line": after, "new_str": new}
            missing = [name for name, value in given.items() if value is None]
            return error(f"Command `insert` needs the argument `{'` and `'.join(missing)}`.")
        content = await self.parts.sandbox.read_file(path)
        text, encoding = decoded(content)
        encoding.check_added(new)
        lines = _lines(text, keep_ends=True)
        if not 0 <= after <= len(lines):
            return error(f"Argument `insert_line` must be between 0 and {len(lines)}, not {after}.")
        # A new line ends as the one before it does, or else as the one after it.
        position = len("".join(lines[: max(0, after - 1)]))
        line_end = with_line_ends(text, (position, position), "\n")
        new = with_line_ends(text, (position, position), new)
        if after == len(lines) and lines and not lines[-1].endswith("\n"):
            lines[-1] += line_end
        new += "" if new.endswith("\n") else line_end
        changed = "".join([*lines[:after], new, *lines[after:]])
        return await self._edited(path, content, changed, first=after + 1, last=after + new.count("\n"))

    async def _undo(self, path: str) -> str:
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
            await self.parts.sandbox.write_file(path, content)
        except OSError as failure:
            is_large = failure.errno == errno.EFBIG
            reason = "The file would be too large" if is_large else _reason(failure)
            raise _NotWritten(f"{reason}: {path}. Nothing was written.") from failure

    async def _holds(self, path: str, content: bytes) -> bool:
        try:
            return await self.parts.sandbox.read_file(path) == content
        except OSError:
            return False

    def _capped(self, text: str, *, note: str = "") -> str:
        if is_error(text):
            return text
        limit = self.parts.max_view_characters
        if len(text) > limit:
            text = f"{text[:limit]}\n[Cut at {limit} characters: use view_range.]"
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
