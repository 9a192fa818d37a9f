"""Nothing that is shown commands a terminal or passes for a line of ours; one place writes."""

import ast
import io
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table

import turnmix
from turnmix.core.errors import RecipeError, TurnMixError
from turnmix.core.printable import LONGEST_LINE, printable, printable_line
from turnmix.core.terminal import show_printable, tell
from turnmix.viewing.console import make_console

ROOT = Path(turnmix.__file__).parent
HOSTILE = {
    "colour": "\x1b[31m",
    "screen": "\x1b[2J",
    "cursor": "\x1b[1A",
    "title": "\x1b]0;x\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "device": "\x1bP+q\x1b\\",
    "reset": "\x1bc",
    "csi as one character": "\x9b2J",
    "osc as one character": "\x9d52;c;x\x9c",
    "nel": "\x85",
    "bell": "\x07",
    "backspace": "\x08",
    "delete": "\x7f",
    "carriage return": "\rRESOLVED",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "right to left": "\u202e",
    "isolate": "\u2066\u2069",
    "mark": "\u200f",
    "no width": "\u200b\u200d\ufeff\u2060",
    "soft hyphen": "\xad",
    "tag": "\U000e0041",
    "selector": "\U000e0101",
    "filler": "\u3164\u115f",
    "surrogate": "\ud83d",
    "not yet a character": "\U000e0fff",
    "private": "\ue000",
    "nothing": "\x00",
}
"""Also in `test_shown_attacks`."""


def commands(text, *, but=""):
    """The characters of `text` that are not simply seen."""
    return {
        character for character in text if character not in but and unicodedata.category(character)[0] in "CZ"
    } - {" "}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_simply_seen_is_spelled_out(name):
    text = f"a{HOSTILE[name]}b"
    assert commands(printable(text)) == set()
    assert "\\" in printable(text)
    assert printable(text).startswith("a\\")
    assert printable(printable(text)) == printable(text)


def test_what_is_seen_stays_as_it_is():
    text = "β 0.60, naïve, 漢字, עברית, العربية, ✔️ ⚠️ — “quoted”, C:\\new\n  second line"
    assert printable(text) == text
    assert printable("a\tb") == "a   b"


@given(st.text(st.characters(codec=None)))
def test_printable_text_is_seen_and_one_line_is_one(text):
    assert commands(printable(text), but="\n") == set()
    line = printable_line(text)
    assert commands(line) == set()
    assert line.splitlines() in ([line], [])
    assert printable_line(line) == line


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\x1b" * 1_000_000, "\t" * 1_000_000, "\n" * 1_000_000])
def test_a_line_is_of_bounded_length_and_shows_both_its_ends(text):
    line = printable_line(f"BEGINNING{text}THE END")
    assert len(line) <= LONGEST_LINE + 3
    assert line.startswith("BEGINNING")
    assert line.endswith("THE END")


def test_an_error_has_the_lines_that_its_maker_gave_it_and_no_more():
    error = RecipeError("id: 'a\nturnmix: RESOLVED': is wrong", "second\x1b[2J")
    assert error.lines == ("id: 'a\\nturnmix: RESOLVED': is wrong", "second\\x1b[2J")
    assert str(error) == "\n".join(error.lines)
    assert str(TurnMixError(f"{error}")).count("\n") == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(params=[io.StringIO, Terminal])
def output(request, monkeypatch):
    stream = request.param()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return stream


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_commands_the_terminal_through_the_console_whatever_it_is_printed_as(output, name):
    attack = HOSTILE[name]
    console = make_console()
    table = Table(title=attack)
    table.add_column(f"c{attack}")
    table.add_row(attack, style="bold")
    console.print(f"text {attack}", style="bold")
    console.print(table)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as bars:
        bars.add_task(f"task {attack}")
    shown = output.getvalue()
    # Of a terminal: what rich itself writes for the same without the attack, and nothing more.
    for own in ("\x1b[1m", "\x1b[0m", "\x1b[1;3m", "\x1b[3m", "\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\r"):
        if isinstance(output, Terminal):
            shown = shown.replace(own, "")
    assert commands(shown, but="\n") == set()


def test_markup_is_text_and_styles_are_kept(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    make_console().print("[link=http://evil.example]x[/link] :bomb:", style="bold")
    assert stream.getvalue() == "\x1b[1m[link=http://evil.example]x[/link] :bomb:\x1b[0m\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_what_libraries_write_is_made_printable_too(monkeypatch, name):
    streams = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    restore = show_printable()
    print(f"out {HOSTILE[name]}")
    print(f"error {HOSTILE[name]}", file=sys.stderr)
    tell(f"note {HOSTILE[name]}")
    restore()
    assert commands("".join(stream.getvalue() for stream in streams), but="\n") == set()
    assert (sys.stdout, sys.stderr) == streams


def test_colours_and_bars_of_libraries_pass_to_a_terminal_and_nothing_else_does(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    restore = show_printable()
    sys.stderr.write("\r\x1b[31m50%\x1b[0m\x1b[A\x1b]52;c;x\x07\x1b[6n\x1b[2J\x9b2J\n")
    restore()
    assert stream.getvalue() == "\r\x1b[31m50%\x1b[0m\x1b[A\\x1b]52;c;x\\x07\\x1b[6n\\x1b[2J\\x9b2J\n"


def written_elsewhere(path):
    """Where a module writes to the terminal by itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        is_read = isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load)
        name = ast.unparse(node) if is_read else ""
        if (
            name
            in ("print", "input", "sys.stdout.write", "sys.stderr.write", "sys.__stdout__", "sys.__stderr__")
            or name.startswith(
                ("traceback.print", "pprint.", "click.", "sys.stdout.buffer", "sys.stderr.buffer")
            )
            or name in ("logging.basicConfig", "logging.StreamHandler", "logging.info", "logging.warning")
        ):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Console", "rich.print", "os.write"):
            is_terminal = ast.unparse(node.func) != "os.write" or ast.unparse(node.args[0]) in ("1", "2")
            if is_terminal:
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}"


def test_one_place_writes_to_the_terminal():
    # Those in `inside` and the watchdog are programs of their own, whose output TurnMix reads or logs.
    alone = {"core/terminal.py", "policies/server/watchdog.py"}
    found = [
        place
        for path in ROOT.rglob("*.py")
        if (name := path.relative_to(ROOT).as_posix()) not in alone and "/inside/" not in name
        for place in written_elsewhere(path)
    ]
    assert found == []
    assert issubclass(type(make_console()), Console)
