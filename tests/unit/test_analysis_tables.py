"""A table of an analysis as a person reads it: in 80 columns, with counts and intervals, and nothing that commands."""

import io

import pytest
from rich.console import Console

from turnmix.analysis.table import Column, Estimate, Share, Table
from turnmix.viewing.analysis_tables import cell_text, print_table, print_tables

RESOLVED = Column(title="resolved", unit="share")


def table_lines(*shown):
    """As a terminal of 80 columns shows them."""
    output = io.StringIO()
    console = Console(file=output, width=80, color_system=None, markup=False, highlight=False)
    print_table(console, *shown) if len(shown) == 1 else print_tables(console, shown)
    return [line.rstrip() for line in output.getvalue().split("\n")[:-1]]


STUDENTS = (Column(title="student"), RESOLVED)


def table(*, columns=STUDENTS, rows=(), notes=(), title="After one edit"):
    return Table(name="accidents", title=title, columns=tuple(columns), rows=tuple(rows), notes=tuple(notes))


def test_a_share_is_shown_with_its_counts_and_its_wilson_interval():
    rows = [("sft", Share(count=1, of=100)), ("dagger", Share(count=28, of=100))]
    assert table_lines(table(rows=rows, notes=["One task, one edit."])) == [
        "After one edit",
        "student                resolved",
        "sft       1/100    1 % [0, 5]",
        "dagger   28/100   28 % [20, 37]",
        "",
        "One task, one edit.",
    ]


@pytest.mark.parametrize(
    ("cell", "unit", "text"),
    [
        (None, "share", "–"),
        (Share(count=0, of=0), "share", "0/0"),
        (0.285, "share", "28 %"),
        (Estimate(value=0.26, low=None, high=None), "nats per token", "0.260"),
        (Estimate(value=0.045, low=-0.005, high=0.09), "points", "+4.5 [-0.5, +9.0]"),
        (12_345.6, "tokens", "12,346"),
        (0.00312, "dollars", "0.0031"),
        (3, "", "3"),
        (0.05321, "", "0.0532"),
    ],
)
def test_a_cell_is_shown_in_its_columns_unit(cell, unit, text):
    assert cell_text(cell, Column(title="", unit=unit)) == text


def test_a_column_names_its_unit_where_no_cell_shows_it():
    columns = [
        Column(title="student"),
        Column(title="label NLL", unit="nats per token"),
        Column(title="points gained", unit="points"),
    ]
    lines = table_lines(table(columns=columns, rows=[("sft", 0.6, 0.01)]))
    assert "(nats" in " ".join(lines)
    assert " ".join(lines).count("points") == 1


@pytest.mark.parametrize("number", [1, 4, 12])
def test_no_line_is_longer_than_80_columns_and_every_figure_is_there(number):
    columns = [Column(title="student"), *(Column(title=f"arm {i}", unit="share") for i in range(number))]
    row = ("a student " * 12, *(Share(count=1000 + i, of=5000) for i in range(number)))
    lines = table_lines(table(columns=columns, rows=[row]))
    assert max(map(len, lines)) <= 80
    assert all(f"{1000 + i:,}/5,000" in "\n".join(lines) for i in range(number))
    assert ("[19," in "\n".join(lines)) == (number == 1)


def test_a_table_without_rows_says_so_or_why():
    assert table_lines(table()) == ["After one edit", "nothing to show"]
    assert table_lines(table(notes=["Two runs are missing."])) == ["After one edit", "Two runs are missing."]


def test_a_unit_that_the_title_names_is_in_no_heading():
    columns = [
        Column(title="student"),
        *(Column(title=name, unit="nats per token") for name in ("own", "there")),
    ]
    lines = table_lines(table(title="NLL, nats per token", columns=columns, rows=[("sft", 0.6, 0.1)]))
    assert lines[:3] == ["NLL, nats per token", "student    own  there", "sft      0.600  0.100"]


def test_figures_end_below_their_title_however_they_are_written():
    columns = [Column(title=title) for title in ("arm", "over all seeds", "labels learned")]
    assert table_lines(table(columns=columns, rows=[("sft", "0.5–0.6", 10), ("opd", "1 seed", None)]))[
        1:
    ] == [
        "arm  over all seeds  labels learned",
        "sft         0.5–0.6              10",
        "opd          1 seed               –",
    ]


def test_a_table_in_parts_has_parts_of_like_widths_and_its_intervals_if_that_costs_no_part():
    columns = [Column(title="student"), *(Column(title=f"of {i}", unit="share") for i in range(4))]
    lines = table_lines(table(columns=columns, rows=[("a student " * 3, *[Share(count=28, of=100)] * 4)]))
    assert [line.split()[1:] for line in lines if line.startswith("student")] == [
        ["of", "0", "of", "1"],
        ["of", "2", "of", "3"],
    ]


def test_what_several_tables_note_is_said_once_behind_the_last():
    shown = [
        table(title=name, rows=[("sft", None)], notes=[f"{name}'s own.", "Of all."]) for name in ("A", "B")
    ]
    lines = table_lines(*shown)
    assert [line for line in lines if line.endswith(".")] == ["A's own.", "B's own.", "Of all."]
    assert lines[-1] == "Of all."


def test_what_strangers_wrote_neither_commands_the_terminal_nor_is_read_as_markup():
    told = "[bold]x[/bold]\x1b[2J\u202e\ny"
    shown = io.StringIO()
    print_table(
        Console(file=shown, width=80, force_terminal=True, color_system=None),
        table(columns=[Column(title=told), RESOLVED], rows=[(told, None)], notes=[told], title=told),
    )
    assert shown.getvalue().count("[bold]x[/bold]") >= 3
    assert not {"\x1b", "\u202e"} & set(shown.getvalue())


def test_a_table_that_fits_by_folding_its_titles_folds_no_cell():
    titles = ("arm", "value", "less the reference arm", "smallest effect", "a title of many long words")
    rows = [("sft", "31/40 77.5 %", "-2.5 [-12.9, +6.5] and more", "10.2", ".500 to .501")]
    lines = table_lines(table(columns=[Column(title=title) for title in titles], rows=rows))
    assert any(all(cell in line for cell in rows[0]) for line in lines)
    assert max(map(len, lines)) <= 80
