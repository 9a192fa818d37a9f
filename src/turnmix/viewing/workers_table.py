"""What the machines of a cluster did for a run, a row each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from turnmix.core.printable import printable_line

_COLUMNS = {
    "rollouts": "rollouts",
    "evaluated": "evaluated",
    "infra_errors": "infra\nerrors",
    "lost": "workers\nlost",
}


def workers_table(summary: Mapping[str, Any]) -> Table | None:
    """None: no iteration was rolled out by workers."""
    machines: dict[str, Counter[str]] = {}
    for row in summary["iterations"]:
        for machine, counts in (row.get("workers") or {}).items():
            machines.setdefault(machine, Counter()).update(counts)
    if not machines:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("machine")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for machine, counted in sorted(machines.items()):
        table.add_row(printable_line(machine), *(f"{counted[name]:,}" for name in _COLUMNS))
    return table
