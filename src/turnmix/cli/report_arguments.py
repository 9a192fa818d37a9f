"""What may stand behind `turnmix report`."""

from __future__ import annotations

from typing import Any


def add_report(commands: Any) -> None:
    """Add the command that writes a report."""
    report = commands.add_parser(
        "report",
        help="write one HTML file of runs, to be looked at in a browser",
        usage="turnmix report RUN ... [-o FILE] [--plots DIR]",
        description="Write one HTML file of runs, evaluations, or a sweep: figures, plots, tables, and the "
        "trajectories with filters and search. It opens without a network, and nothing that an agent wrote runs in it.",
        epilog="example: turnmix report runs/demo -o report.html",
    )
    report.add_argument(
        "runs", nargs="+", metavar="RUN", help="directories of runs, of evaluations, or of a sweep"
    )
    report.add_argument(
        "-o", "--output", metavar="FILE", default="report.html", help="report.html if left out"
    )
    report.add_argument("--plots", metavar="DIR", help="write each plot there too, as SVG and as PNG")
