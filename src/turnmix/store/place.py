"""Where a run, or an evaluation, is written.

In: the path of a directory, as the user named it, or one inside of a run. Out: a descriptor of that directory. Links on
the way to a run are the user's; from a run on downwards they may be anybody's, and none is followed.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import shlex
import shutil
import stat
from pathlib import Path

from turnmix.core.bounded_file import LINK
from turnmix.core.errors import UserError
from turnmix.core.own_file import NO_FILE, open_own_directory
from turnmix.store.lock import LOCK
from turnmix.store.made_here import SEAL
from turnmix.store.versions import VERSIONS

RECIPE = "recipe.yaml"
ANALYSIS = "analysis.json"
"""In a directory that holds an analysis, not a run."""
MARKS = ("versions.json", "evaluation.json", ANALYSIS, "trajectories.jsonl", "evaluations.jsonl", "metrics.jsonl",
         "scores.jsonl", "clock.json", "checkpoints/iteration-001")  # fmt: skip
"""What lies beside the recipe in a directory of a run or an evaluation, some of it, and seldom elsewhere."""


def holds_run(directory: Path) -> bool:
    """Is this the directory of a run or an evaluation, and not one with a recipe that somebody wrote?"""
    return os.path.lexists(directory / RECIPE) and any(os.path.lexists(directory / mark) for mark in MARKS)


def open_place(path: Path, *, run: Path | None = None) -> int:
    """Make the directory `path`, and those above it, where they are not there. `run`: a directory above it that holds
    one, if that is known. Raises OSError: it cannot be made, or a link inside a run leads to it."""
    path = Path(os.path.abspath(path))
    above = next(filter(holds_run, path.parents), None) if run is None else Path(os.path.abspath(run))
    if above is None:
        path.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    descriptor = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in path.relative_to(above).parts:
        above = above / part
        try:
            below = open_own_directory(above, directory=descriptor, is_made=True)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def check_leads_nowhere(run: Path) -> None:
    """Other programs' code writes into a run too, by paths: it holds files and directories only, and such links as lead
    into itself. Raises OSError: it holds something else."""
    root = run.resolve()
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) and not path.resolve().is_relative_to(root):
                raise OSError(errno.ELOOP, LINK, str(run / path.relative_to(root)))
            if not (stat.S_ISLNK(mode) or stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise OSError(errno.EINVAL, NO_FILE, str(run / path.relative_to(root)))


def check_holds_run(path: Path) -> None:
    """Raises UserError: there is no run."""
    if (path / RECIPE).is_symlink():
        raise UserError(f"{path / RECIPE}: {LINK}")
    if not (path / RECIPE).is_file():
        raise UserError(f"{path} holds no run (no {RECIPE} in it): {_run_meant(path)}")
    if os.path.lexists(path / ANALYSIS):
        run = shlex.quote(str(path.parent.parent))
        raise UserError(
            f"{path} holds an analysis, not a run: its tables are shown by: turnmix analyse {run}"
        )


def _run_meant(path: Path) -> str:
    """Which run, of those below `path`, here or in `runs`, may have been meant."""
    found = [recipe.parent for where in (path, Path(), Path("runs")) for recipe in where.glob(f"*/{RECIPE}")]
    by_name = {run.name: str(run) for run in sorted(found)}
    if close := difflib.get_close_matches(path.name, list(by_name), n=1):
        return f"did you mean {by_name[close[0]]}?"
    return f"name a run directory, such as {next(iter(by_name.values()), 'runs/demo')}"


def check_is_free(path: Path) -> None:
    """Raise UserError when a run cannot begin in this directory, because it holds one or something else."""
    if not path.is_dir():
        return
    # A run killed before its recipe was written has no more than this, and is begun anew.
    taken = sorted({entry.name for entry in path.iterdir()} - {LOCK, SEAL, VERSIONS})
    taken = [name for name in taken if not name.endswith(".partial")]
    if RECIPE in taken:
        raise UserError(
            f"run directory {path} holds a run already: {resume_command(path)}, or name another directory with "
            "--run"
        )
    if taken:
        raise UserError(
            f"run directory {path} is not empty ({taken[0]} is in it): name another directory with --run"
        )


def resume_command(path: Path) -> str:
    """What goes on with the run in `path`, as a shell takes it."""
    return f"turnmix train --resume {shlex.quote(str(path))}"


def gateway_command(path: Path, host: str | None, port: int | None) -> str:
    """What goes on with the rollouts of the run in `path` that scaffolds drive which start themselves."""
    where = [
        f" --{name} {shlex.quote(str(value))}" for name, value in (("host", host), ("port", port)) if value
    ]
    return f"turnmix gateway --run {shlex.quote(str(path))}{''.join(where)}"


def empty(path: Path, *, leaves_directory: bool) -> None:
    """Delete what is in `path`, and itself."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    if not leaves_directory:
        with contextlib.suppress(OSError):
            path.rmdir()
