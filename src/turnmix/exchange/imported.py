"""In: the files of a recipe's `data.messages`. Out: their trajectories, dealt to the iterations.

All rows are read before any is trained on: rows that are none are told, a line each, and nothing begins.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import UserError
from turnmix.core.json_text import MOST_BYTES, json_value
from turnmix.core.message import ToolSpecification
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Trajectory
from turnmix.exchange.chat_row import read_tools, trajectory_of
from turnmix.exchange.row_files import Row, RowError, matching_files, read_rows

FIELD, TOOLS = "data.messages", "data.tools"
MOST_SHOWN = 20
MOST_COUNTED = 10_000
"""Files with so many bad rows are read no further."""


def import_trajectories(
    names: Sequence[str], *, tools: str | None, iterations: int, seed: int
) -> list[Trajectory]:
    """The trajectories of all rows, iteration after iteration; with several, in an order drawn by `seed`.

    names: paths and patterns; tools: a JSON file of the tools of rows that describe none

    Raises:
        UserError: a file cannot be read, a row is none, or there are fewer rows than iterations.
    """
    known = () if tools is None else _tools_in(tools)
    found: list[Trajectory] = []
    faults: list[str] = []
    for row in _rows(names):
        name = f"{row.path.stem}-{row.number}"
        try:
            if isinstance(row.value, RowError):
                raise row.value
            found.append(trajectory_of(row.value, name=name, tools=known))
        except RowError as error:
            faults.append(f"{FIELD}: {row.place}: {error}")
            if len(faults) == MOST_COUNTED:
                break
    if faults:
        more = len(faults) - MOST_SHOWN
        raise UserError(*faults[:MOST_SHOWN], *([f"… and {more:,} more"] if more > 0 else []))
    if not found:
        raise UserError(f"{FIELD}: {', '.join(names)}: holds no row: name files with rows")
    if len(found) < iterations:
        raise UserError(
            f"iterations: {iterations}: {FIELD} holds {len(found)} rows: set it to {len(found)} or less"
        )
    if iterations > 1:
        random.Random(derive_seed(seed, "rows")).shuffle(found)
    return list(_dealt(found, iterations))


def _rows(names: Sequence[str]) -> Iterator[Row]:
    for path in matching_files(names, field=FIELD):
        yield from read_rows(path, field=FIELD)


def _dealt(trajectories: Sequence[Trajectory], iterations: int) -> Iterator[Trajectory]:
    number = len(trajectories)
    for iteration in range(1, iterations + 1):
        part = trajectories[number * (iteration - 1) // iterations : number * iteration // iterations]
        for index, each in enumerate(part):
            yield replace(each, id=f"i{iteration:03d}-{index:05d}", iteration=iteration)


def _tools_in(name: str) -> tuple[ToolSpecification, ...]:
    path = Path(name).expanduser()
    try:
        return read_tools(json_value(read_bounded(path, most=MOST_BYTES)), "tools")
    except OSError as error:
        raise UserError(f"{TOOLS}: {path}: {error.strerror or error}: name a JSON file of tools") from error
    except ValueError as error:
        raise UserError(f"{TOOLS}: {path}: {error}: write a JSON list of tools") from error
