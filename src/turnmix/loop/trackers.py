"""Where a run's figures go beside its own files: tensorboard always, and the trackers that the recipe names.

In: figures of stages and optimiser steps. Out: points over optimiser steps since the base student, through the
tracker classes of accelerate. `metrics.jsonl` stays the truth: a run that is killed and resumed may give a
point twice, at the same step with the same value.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from turnmix.core.atomic_file import write_atomically
from turnmix.core.errors import MissingDependencyError, UserError, first_line
from turnmix.core.json_text import json_text
from turnmix.store.records import read_trackers

TENSORBOARD = "tensorboard"
PROJECT = "turnmix"
IDS = "trackers.json"
"""What each tracker calls the run, so that a resumed one goes on in the same place."""


def check_trackers(names: Sequence[str]) -> None:
    """
    Raises:
        UserError: a name is none of a tracker.
        MissingDependencyError: a tracker's package is not installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    available = {str(tracker) for tracker in get_available_trackers()}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UserError(
                f"trackers: {name!r} is not known: use any of {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}"
            )
        if name not in available:
            raise MissingDependencyError(
                f"trackers: {name} needs the package {name}: install it with pip install {name}, or leave "
                "it out"
            )


class Trackers:
    """The open trackers of one run."""

    def __init__(self, names: Sequence[str], *, run: Path) -> None:
        """`run`: the run's directory.

        Raises:
            UserError: a tracker does not start.
        """
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        path = run / IDS
        ids = read_trackers(path) if os.path.lexists(path) else {}
        self._trackers: dict[str, Any] = {}
        for name in dict.fromkeys((TENSORBOARD, *names)):
            try:
                tracker = LOGGER_TYPE_TO_CLASS[name](**_options(name, run, ids.get(name)))
                tracker.start()
            except Exception as error:
                raise UserError(
                    f"trackers: {name} does not start ({first_line(error)}): set it up as its documentation says, "
                    "or leave it out"
                ) from error
            self._trackers[name] = tracker
            if own_id := _id_of(name, tracker):
                ids[name] = own_id
        write_atomically(path, json_text(ids) + "\n")

    def log(self, figures: Mapping[str, Any], *, step: int) -> None:
        """Give all numbers in `figures`, also in mappings within it. A tracker that fails is given no more."""
        values = dict(_numbers(figures))
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(values, step=step)
            except Exception as error:
                del self._trackers[name]
                warnings.warn(f"trackers: {name} failed and gets no more: {error}", stacklevel=2)

    def close(self) -> None:
        """Write what is still held back."""
        for name, tracker in self._trackers.items():
            try:
                tracker.finish()
            except Exception as error:
                warnings.warn(f"trackers: {name} did not write its last figures: {error}", stacklevel=2)


def _options(name: str, run: Path, known_id: str | None) -> dict[str, Any]:
    if name == TENSORBOARD:
        return {"run_name": TENSORBOARD, "logging_dir": run}
    if name == "mlflow":
        return {"experiment_name": PROJECT, "run_name": run.name, "run_id": known_id}
    if name == "wandb":
        return {"run_name": PROJECT, "name": run.name, "id": known_id, "resume": "allow", "dir": str(run)}
    if name == "trackio":
        return {
            "run_name": PROJECT,
            "name": known_id or run.name,
            "resume": "allow" if known_id else "never",
        }
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    directory = {"logging_dir": run} if LOGGER_TYPE_TO_CLASS[name].requires_logging_directory else {}
    return {"run_name": PROJECT, **directory}


def _id_of(name: str, tracker: Any) -> str | None:
    """What the tracker calls this run; None: it need not be known to go on there."""
    if name == "mlflow":
        return str(tracker.tracker.info.run_id)
    if name == "wandb":
        return str(tracker.tracker.id)
    return str(tracker.tracker.name) if name == "trackio" else None


def _numbers(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
