"""What lies below a directory: runs, evaluations and sweeps, and how far each is.

In: a directory. Out: a row for each, from its small files alone, so that hundreds are listed at once. No link is
followed below the directory, nothing that a recipe names is imported, and what is damaged is a row that says so.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import UserError
from turnmix.recipe.recipe_file import MOST_BYTES
from turnmix.running.comparison_file import comparison_in
from turnmix.running.sweep_arms import run_name
from turnmix.store.evaluation_directory import RESULTS
from turnmix.store.lock import is_locked
from turnmix.store.made_here import is_made_here
from turnmix.store.place import RECIPE, holds_run, resume_command
from turnmix.store.record_files import read_evaluation, read_results, read_summary
from turnmix.store.run_directory import EVALUATION, EVALUATION_FOLDER, SUMMARY
from turnmix.store.sweep_directory import COMPARISON, holds_sweep

MOST_LEVELS = 6
MOST_DIRECTORIES = 50_000
Kind = Literal["run", "evaluation", "sweep"]
State = Literal["complete", "running", "stopped", "damaged"]
_FIELD = re.compile(r"^(method|seed|iterations): *([^\n]{1,200})$", re.MULTILINE)
"""At the top of a recipe as a run stores it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run, an evaluation or a sweep. What is not known is None."""

    path: Path
    kind: Kind
    state: State
    method: str | None = None
    """Of a sweep its name."""
    seed: int | None = None
    done: int | None = None
    """Iterations of a run that are trained; runs of a sweep that are complete."""
    of: int | None = None
    resolved: int | None = None
    """Of the last evaluation."""
    tasks: int | None = None
    command: str | None = None
    """What goes on with it; None: there is nothing to do, or it was not made here."""
    problem: str | None = None
    """What is damaged."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


def list_runs(directory: str | os.PathLike[str] = "runs") -> list[ListedRun]:
    """All below `directory`, or in it, by path.

    Raises:
        UserError: there is no such directory, or too much is below it.
    """
    root = Path(directory)
    if not root.is_dir():
        raise UserError(f"{root} is no directory: name one that holds runs, such as runs")
    return [_listed(path) for path in _found(root)]


def _found(root: Path) -> Iterator[Path]:
    seen = 0
    for folder, directories, _ in os.walk(root):
        if (seen := seen + 1) > MOST_DIRECTORIES:
            raise UserError(
                f"{root}: more than {MOST_DIRECTORIES:,} directories are below it: name one of them"
            )
        path = Path(folder)
        directories.sort()
        if holds_run(path):
            yield path
            directories[:] = [name for name in directories if name == EVALUATION_FOLDER]
        elif holds_sweep(path):
            yield path
        if len(path.relative_to(root).parts) >= MOST_LEVELS:
            directories.clear()


def _listed(path: Path) -> ListedRun:
    kind: Kind = "sweep" if holds_sweep(path) else "evaluation" if (path / EVALUATION).is_file() else "run"
    try:
        return {"sweep": _sweep, "evaluation": _evaluation, "run": _run}[kind](path)
    except UserError as error:
        return ListedRun(path=path, kind=kind, state="damaged", problem=error.lines[0])


def _run(path: Path) -> ListedRun:
    said = _said(path)
    method, seed = said.get("method"), _number(said.get("seed"))
    done = 0
    figures: Mapping[str, Any] | None = None
    is_complete = False
    if os.path.lexists(path / SUMMARY):
        summary = read_summary(path / SUMMARY, fix="delete it, and go on with the run")
        method, seed, is_complete = summary["method"], summary["seed"], summary["is_complete"]
        rows = summary["iterations"]
        done = sum(row.get("loss") is not None or row.get("kept") is not None for row in rows)
        evaluations = [summary["base"], *(row.get("eval") for row in rows)]
        figures = next((each for each in reversed(evaluations) if each is not None), None)
    return ListedRun(
        path=path,
        kind="run",
        state=_state(path, is_complete=is_complete),
        method=method,
        seed=seed,
        done=done,
        of=_number(said.get("iterations")),
        resolved=None if figures is None else figures["resolved"],
        tasks=None if figures is None else figures["n"],
        command=None if is_complete or is_locked(path) else resume_command(path),
    )


def _evaluation(path: Path) -> ListedRun:
    said = _said(path)
    subject = read_evaluation(path / EVALUATION, fix="evaluate it again, in another directory")
    results = path / RESULTS
    figures = read_results(results) if os.path.lexists(results) else None
    is_idle = figures is None and not is_locked(path)
    words = ["turnmix", "evaluate", subject["student"], str(path / RECIPE), "--output", str(path)]
    return ListedRun(
        path=path,
        kind="evaluation",
        state=_state(path, is_complete=figures is not None),
        method=said.get("method"),
        seed=_number(said.get("seed")),
        resolved=None if figures is None else figures["resolved"],
        tasks=None if figures is None else figures["n"],
        command=shlex.join(words) if is_idle and is_made_here(path / RECIPE) else None,
    )


def _sweep(path: Path) -> ListedRun:
    comparison = comparison_in(path)
    names = [run_name(arm, seed) for seed in comparison.seeds for arm in comparison.arms]
    done = sum(_is_complete(path / name) for name in names)
    words = ["turnmix", "sweep", str(path / COMPARISON), "--output", str(path)]
    # Its runs may also be gone on with one by one.
    is_running = is_locked(path) or any(is_locked(path / name) for name in names)
    is_idle = done < len(names) and not is_running
    return ListedRun(
        path=path,
        kind="sweep",
        state="running" if is_running else "complete" if done == len(names) else "stopped",
        method=comparison.name,
        done=done,
        of=len(names),
        command=shlex.join(words) if is_idle and is_made_here(path / COMPARISON) else None,
    )


def _is_complete(run: Path) -> bool:
    if not os.path.lexists(run / SUMMARY):
        return False
    try:
        return bool(read_summary(run / SUMMARY, fix="delete it")["is_complete"])
    except UserError:
        return False


def _state(path: Path, *, is_complete: bool) -> State:
    return "running" if is_locked(path) else "complete" if is_complete else "stopped"


def _said(path: Path) -> dict[str, str]:
    """What the recipe says at its top, without reading all of it as YAML."""
    recipe = path / RECIPE
    try:
        text = read_bounded(recipe, most=MOST_BYTES, follows_link=False).decode(errors="replace")
    except OSError as error:
        raise UserError(f"{recipe} cannot be read ({error.strerror})") from error
    return {match[1]: match[2].strip("'\" ") for match in _FIELD.finditer(text)}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,15}", text) else None
