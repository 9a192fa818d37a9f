"""`turnmix compare`: a sweep, or runs in; what they come to, with differences and the decision, out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turnmix.core.json_text import json_text
from turnmix.core.printable import printable_line
from turnmix.core.terminal import write_output
from turnmix.running.comparing_targets import compare_targets
from turnmix.viewing.analysis_tables import print_tables
from turnmix.viewing.console import make_console, say


def compare(targets: Sequence[str], *, outcomes: Sequence[str], is_json: bool) -> None:
    """Print the tables, or all of it as JSON. Raises UserError: there is nothing to compare."""
    compared = compare_targets([Path(target) for target in targets], outcomes)
    if is_json:
        write_output(json_text(compared.to_json(), indent=2) + "\n")
        return
    console = make_console()
    for line in compared.heading:
        say(console, printable_line(line))
    console.print()
    print_tables(console, compared.tables())
