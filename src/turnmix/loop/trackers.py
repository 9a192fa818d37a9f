"""Where a run's figures go beside its own files: tensorboard always, and the trackers that the recipe names.

In: figures of stages and optimiser steps. Out: points over optimiser steps since the base student, through the
tracker classes of accelerate, or one of the user's own. `metrics.jsonl` stays the truth: a run that is killed and
resumed may give a point twice, at the same step with the same value.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from turnmix.core.atomic_file import write_atomically
from turnmix.core.errors import MissingDependencyError, UserError, first_line
from turnmix.core.json_text import json_text
from turnmix.core.plugins import is_plugin_name, load_plugin, plugin_fault
from turnmix.store.record_files import read_trackers

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
        if is_plugin_name(name):
            _own(name)
            continue
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UserError(
                f"trackers: {name!r} is not known: use any of {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}, or a class of "
                "your own, package.module:Name"
            )
        if name not in available:
            raise MissingDependencyError(
                f"trackers: {name} needs the package {name}: install it with pip install {name}, or leave "
                "it out"
            )


class Tracker(Protocol):
    """One of the user's own, `package.module:Name`: a class that is made with the run's directory, if it takes
    anything. A run that is gone on with makes it anew, and may give it a point twice."""

    def log(self, figures: Mapping[str, float], *, step: int) -> None:
        """Figures by name, such as `step/loss`, after so many optimiser steps since the base student."""
        ...

    def close(self) -> None:
        """The run ends here, whether it is complete or not."""
        ...


class _OfAccelerate:
    """A tracker of accelerate's, as a `Tracker`."""

    def __init__(self, name: str, *, run: Path, known_id: str | None) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        self._name = name
        self._tracker = LOGGER_TYPE_TO_CLASS[name](**_options(name, run, known_id))
        self._tracker.start()

    @property
    def own_id(self) -> str | None:
        return _id_of(self._name, self._tracker)

    def log(self, figures: Mapping[str, float], *, step: int) -> None:
        self._tracker.log(dict(figures), step=step)

    def close(self) -> None:
        self._tracker.finish()


class Trackers:
    """The open trackers of one run."""

    def __init__(self, names: Sequence[str], *, run: Path) -> None:
        """`run`: the run's directory.

        Raises:
            UserError: a tracker does not start.
        """
        path = run / IDS
        ids = read_trackers(path) if os.path.lexists(path) else {}
        self._trackers: dict[str, Tracker] = {}
        for name in dict.fromkeys((TENSORBOARD, *names)):
            try:
                self._trackers[name] = _opened(name, run=run, known_id=ids.get(name))
            except UserError:
                raise
            except (Exception, SystemExit) as error:
                raise UserError(
                    f"trackers: {name} does not start ({_told(name, error)}): set it up as its documentation says, "
                    "or leave it out"
                ) from error
        opened = {
            name: each.own_id for name, each in self._trackers.items() if isinstance(each, _OfAccelerate)
        }
        ids |= {name: own_id for name, own_id in opened.items() if own_id}
        write_atomically(path, json_text(ids) + "\n")

    def log(self, figures: Mapping[str, Any], *, step: int) -> None:
        """Give all numbers in `figures`, also in mappings within it. A tracker that fails is given no more."""
        values = dict(_numbers(figures))
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(dict(values), step=step)
            except (Exception, SystemExit) as error:
                del self._trackers[name]
                warnings.warn(f"trackers: {name} failed and gets no more: {_told(name, error)}", stacklevel=2)

    def close(self) -> None:
        """Write what is still held back."""
        for name, tracker in self._trackers.items():
            try:
                tracker.close()
            except (Exception, SystemExit) as error:
                warnings.warn(
                    f"trackers: {name} did not write its last figures: {_told(name, error)}", stacklevel=2
                )


def _opened(name: str, *, run: Path, known_id: str | None) -> Tracker:
    if not is_plugin_name(name):
        return _OfAccelerate(name, run=run, known_id=known_id)
    own = _own(name)
    made: Tracker = own(run) if inspect.signature(own).parameters else own()
    return made


def _own(name: str) -> Any:
    """The class of a tracker of the user's own. Raises UserError: there is none of this name."""
    found = load_plugin(name, field="trackers")
    if not isinstance(found, type):
        raise UserError(f"trackers: {name!r}: is no class: name one that has log(figures, step) and close()")
    if lacking := [each for each in ("log", "close") if not callable(getattr(found, each, None))]:
        raise UserError(
            f"trackers: {name!r}: has no {' and no '.join(lacking)}: give it log(figures, step) and close()"
        )
    return found


def _told(name: str, error: BaseException) -> str:
    return plugin_fault(error, name=name) if is_plugin_name(name) else first_line(error)


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
