"""`turnmix analyse`: runs in; tables of what their students do in the states that they visit out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turnmix.analysis.instruments import tables_of
from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.terminal import write_output
from turnmix.recipe.recipe_file import with_overrides
from turnmix.running.analysed_checkpoints import Checkpoints
from turnmix.running.analysing import DEFAULT, HEADROOM_KINDS, analyse_run
from turnmix.running.analysis_settings import judge_settings, teacher_prices
from turnmix.running.reporter import QuietReporter, Reporter
from turnmix.viewing.analysis_tables import print_tables
from turnmix.viewing.console import ConsoleReporter, make_console, say_note

MOST_RUNS = 1000


def analyse(
    words: Sequence[str],
    *,
    checkpoints: str,
    num_tasks: int | None,
    instruments: str | None,
    headroom: Sequence[str] | None,
    judge: Sequence[str],
    prices: Sequence[str],
    is_json: bool,
) -> None:
    """Analyse each run, or go on with it, and print tables over all of them.

    Raises:
        UserError: one cannot be analysed, or another analysis lies there.
        TurnMixError: it failed, or was stopped; the message says that the same command goes on.
    """
    runs, overrides = names_and_overrides(words, at_most=MOST_RUNS)
    if not runs:
        raise UserError("name a run, such as runs/minirepo_dagger")
    names = DEFAULT if instruments is None else tuple(name.strip() for name in instruments.split(","))
    who = judge_settings(with_overrides({}, judge)) if judge else None
    said = teacher_prices(with_overrides({}, prices)) if prices else None
    reporter: Reporter = _OnlyNotes() if is_json else ConsoleReporter()
    analyses = [
        analysis
        for run in dict.fromkeys(runs)
        for analysis in analyse_run(
            Path(run),
            checkpoints=chosen_checkpoints(checkpoints),
            instruments=names,
            num_tasks=num_tasks,
            headroom=HEADROOM_KINDS if headroom is None else [_kinds(each) for each in headroom],
            judge=who,
            prices=said,
            overrides=overrides,
            reporter=reporter,
        )
    ]
    tables = tables_of(analyses, names)
    if is_json:
        write_output(json_text([table.to_json() for table in tables], indent=2) + "\n")
        return
    console = make_console()
    console.print()
    print_tables(console, tables)


def chosen_checkpoints(text: str) -> Checkpoints:
    """
    >>> chosen_checkpoints("last"), chosen_checkpoints("0,2,4")
    ('last', [0, 2, 4])

    Raises:
        UserError: it is neither `last`, `all`, nor numbers.
    """
    if text == "last" or text == "all":
        return text  # type: ignore[return-value]
    try:
        iterations = [int(part) for part in text.split(",")]
    except ValueError:
        iterations = [-1]
    if min(iterations) < 0:
        raise UserError(
            f"--checkpoints: {text!r}: say last, all, or iterations such as 0,2,4, where 0 is the base student"
        )
    return iterations


def _kinds(text: str) -> list[str]:
    return [kind.strip() for kind in text.split(",")]


class _OnlyNotes(QuietReporter):
    """Standard output is for the tables alone."""

    def note(self, line: str) -> None:
        say_note(line)
