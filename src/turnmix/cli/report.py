"""`turnmix report`: runs in, one HTML file out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turnmix.core.printable import printable_line
from turnmix.running.reporting import write_report
from turnmix.viewing.console import make_console, say


def report(runs: Sequence[str], *, output: str, plots: str | None) -> None:
    """Write it, and print where it lies. Raises UserError: see `write_report`."""
    told = write_report(
        [Path(run) for run in runs], output=Path(output), plots=None if plots is None else Path(plots)
    )
    console = make_console()
    say(console, printable_line(f"A report to open in a browser: {told}"))
    if plots is not None:
        say(console, printable_line(f"Its plots as SVG and PNG: {plots}"))
