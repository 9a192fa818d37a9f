"""What a person sees while a run goes on: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment

from turnmix.assembly.machine import is_follower
from turnmix.core.printable import printable_line, spelled_out
from turnmix.core.terminal import tell
from turnmix.store.run_directory import stage_id
from turnmix.viewing.report import stage_name, stage_text
from turnmix.viewing.run_warnings import large_pass_warnings, stage_warnings

PLAIN_LINE_SECONDS = 20.0
PLAIN_STEP_SECONDS = 2.0
"""Of lines that tell an optimiser step: a newcomer sees the loss fall."""
CELL_SECONDS = 0.2
"""Between two changes of what a notebook shows."""
STAGE_INDENT = 24
"""Where the figures of a stage's line begin."""
TRAINING_STAGES = ("rollout", "score", "train", "evaluate")
Seconds = Callable[[str], float | None]
"""A stage's id -> how long it took; None: not known."""


class _Console(Console):
    """Of all that is printed, styles alone are rich's own: no text commands the terminal, nor is any read as markup."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield (
                segment if segment.control else Segment(spelled_out(segment.text, kept="\n\t"), segment.style)
            )

    def on_broken_pipe(self) -> None:
        """Leave it to `main`: rich itself would end the process with exit code 1."""
        raise


def make_console() -> Console:
    """Standard output: at most 80 columns where it is no terminal; rich itself obeys NO_COLOR."""
    width = None if sys.stdout.isatty() else 80
    return _Console(width=width, highlight=False, soft_wrap=False, markup=False, emoji=False)


def say(console: Console, text: str, *, indent: int = 0, style: str | None = None) -> None:
    """A sentence: on a terminal folded between words, those below the first line indented; elsewhere one line, which
    is found by searching and copied whole."""
    lines = text.split("\n")
    if console.is_terminal:
        lines = [
            folded
            for line in lines
            for folded in textwrap.wrap(
                line,
                max(console.width, indent + 20),
                subsequent_indent=" " * indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
            or [""]
        ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True, style=style)
    console.file.flush()


def say_note(line: str) -> None:
    """One line on standard error, so that standard output stays what was asked for; one rank alone says it."""
    if not is_follower():
        tell(f"note: {line}")


def print_warnings(console: Console, warnings: Iterable[str]) -> None:
    """What a person must not miss."""
    for warning in warnings:
        say(console, printable_line(f"WARNING: {warning}"), indent=2, style="bold yellow")


@dataclass(slots=True)
class _Stage:
    name: str
    total: int
    told: float
    """When its last line was printed."""
    every: float


def _in_column(stage: str) -> str:
    """As wide as the other stages of its kind: those of a training run, or an analysis' rollouts and scores.

    >>> _in_column("train"), _in_column("own"), _in_column("teacher scores")
    ('train    ', 'own           ', 'teacher scores')
    """
    return f"{stage:<{9 if stage in TRAINING_STAGES else 14}}"


class _Lines:
    """Progress as plain lines, each written at once."""

    def __init__(self, console: Console, seconds: Seconds) -> None:
        self._console = console
        self._seconds = seconds
        self._has_told_passes = False
        self._stages: dict[str, _Stage] = {}
        """Those under way."""

    def begin(self, stage: str, iteration: int, *, total: int, done: int) -> None:
        begun = _Stage(
            f"{stage_name(iteration):<13} {_in_column(stage)}",
            total,
            told=time.monotonic(),
            every=PLAIN_LINE_SECONDS,
        )
        if stage == "train":
            begun.told, begun.every = -math.inf, PLAIN_STEP_SECONDS
        self._stages[stage_id(stage, iteration)] = begun
        if done:
            self._tell(begun, f"{done}/{total} found on disk")

    def advance(self, stage: str, iteration: int, *, done: int, note: str) -> None:
        begun = self._stages[stage_id(stage, iteration)]
        if time.monotonic() - begun.told >= begun.every:
            begun.told = time.monotonic()
            self._tell(begun, f"{done}/{begun.total}{', ' * bool(note)}{note}")

    def end(self, stage: str, iteration: int, figures: dict[str, Any]) -> None:
        self._stages.pop(stage_id(stage, iteration), None)
        told = stage_text(stage, iteration, figures, self._seconds(stage_id(stage, iteration)))
        self._print(printable_line(told))
        print_warnings(self._console, stage_warnings(stage, iteration, figures))
        if not self._has_told_passes:
            warnings = large_pass_warnings([figures])
            print_warnings(self._console, warnings)
            self._has_told_passes = bool(warnings)

    def _tell(self, stage: _Stage, text: str) -> None:
        self._print(printable_line(f"{stage.name} {text}"))

    def _print(self, text: str) -> None:
        say(self._console, text, indent=STAGE_INDENT)


class _Bars(_Lines):
    """One bar for each stage under way; a line stays of each that has finished."""

    def __init__(self, console: Console, seconds: Seconds, bars: Progress) -> None:
        super().__init__(console, seconds)
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def begin(self, stage: str, iteration: int, *, total: int, done: int) -> None:
        name = "base" if iteration == 0 else f"{iteration}"
        self._remove(stage_id("score", iteration) if stage == "train" else stage_id(stage, iteration))
        task = self._bars.add_task(f"{name:<4} {_in_column(stage)}", total=total, completed=done, note="")
        self._tasks[stage_id(stage, iteration)] = task

    def advance(self, stage: str, iteration: int, *, done: int, note: str) -> None:
        task = self._tasks[stage_id(stage, iteration)]
        self._bars.update(task, completed=done, note=printable_line(note))

    def end(self, stage: str, iteration: int, figures: dict[str, Any]) -> None:
        self._remove(stage_id(stage, iteration))
        super().end(stage, iteration, figures)

    def _remove(self, stage: str) -> None:
        if (task := self._tasks.pop(stage, None)) is not None:
            self._bars.remove_task(task)


class _Cell(_Lines):
    """In a notebook: one text that is written over, with a line for each stage that has finished and each under way."""

    def __init__(self, console: Console, seconds: Seconds) -> None:
        display: Any = import_module("IPython.display").display
        super().__init__(console, seconds)
        self._finished: list[str] = []
        self._under_way: dict[str, str] = {}
        self._shown = -math.inf
        self._cell = display({"text/plain": ""}, raw=True, display_id=True)

    def begin(self, stage: str, iteration: int, *, total: int, done: int) -> None:
        if stage == "train":
            self._under_way.pop(stage_id("score", iteration), None)
        super().begin(stage, iteration, total=total, done=done)
        self.advance(stage, iteration, done=done, note="")

    def advance(self, stage: str, iteration: int, *, done: int, note: str) -> None:
        begun = self._stages[stage_id(stage, iteration)]
        told = f"{begun.name} {done}/{begun.total}{', ' * bool(note)}{note}"
        self._under_way[stage_id(stage, iteration)] = printable_line(told)
        if time.monotonic() - self._shown >= CELL_SECONDS:
            self._show()

    def end(self, stage: str, iteration: int, figures: dict[str, Any]) -> None:
        self._under_way.pop(stage_id(stage, iteration), None)
        super().end(stage, iteration, figures)
        self._show()

    def _print(self, text: str) -> None:
        self._finished.append(text)

    def _show(self) -> None:
        self._shown = time.monotonic()
        text = "\n".join([*self._finished, *self._under_way.values()])
        self._cell.update({"text/plain": text}, raw=True)


class ConsoleReporter:
    """Shows a run on standard output, or in the notebook that called; notes go to standard error."""

    def __init__(self) -> None:
        self._console = make_console()

    def note(self, line: str) -> None:
        say_note(line)

    def say(self, line: str) -> None:
        say(self._console, printable_line(line))

    def progress(self, *, seconds: Seconds) -> AbstractContextManager[_Lines]:
        return make_progress(self._console, seconds=seconds)


@contextmanager
def make_progress(console: Console, *, seconds: Seconds) -> Iterator[_Lines]:
    """Who is told how far a run is."""
    if console.is_jupyter and find_spec("IPython") is not None:
        yield _Cell(console, seconds)
        return
    if not console.is_terminal:
        yield _Lines(console, seconds)
        return
    columns = (
        TextColumn("{task.description:<11}", markup=False),
        BarColumn(bar_width=20, style="default", complete_style="blue", finished_style="blue"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bars(console, seconds, bars)
