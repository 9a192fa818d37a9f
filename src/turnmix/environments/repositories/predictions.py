"""Predictions in SWE-bench's format: one JSON line a task, with `instance_id`, `model_name_or_path`, `model_patch`.

In: a file, also one that another program wrote. Out: patches by task. Or: verdicts, written as such a file.
A byte of a patch that is no UTF-8 is half a surrogate pair in JSON, such as \\udce9, and is that byte again when read.
"""

from __future__ import annotations

import errno
import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from turnmix.core.bounded_file import bounded_lines, read_bounded
from turnmix.core.errors import UserError
from turnmix.core.json_text import MOST_BYTES, json_text, json_value
from turnmix.core.trajectory import StopReason, Trajectory
from turnmix.core.verdict import Verdict
from turnmix.environments.repositories.patch_text import decoded, encoded

PREDICTIONS = "predictions.jsonl"
"""What a file of predictions is called in an evaluation."""


def _bytes_stand_behind(patch: str | None) -> str | None:
    try:
        encoded(patch or "")
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair that stands for no byte") from error
    return patch


class Prediction(BaseModel):
    """One task's patch."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    instance_id: str
    model_name_or_path: str = "none"
    model_patch: Annotated[str | None, AfterValidator(_bytes_stand_behind)]
    """None or empty: nothing was submitted."""
    unfinished: bool = False
    """The agent did not call finish: what it left may count as unresolved, as it stands."""


def read_predictions(path: Path) -> list[Prediction]:
    """Also a JSON list, or a JSON object of predictions by task.

    Raises:
        UserError: it is no such file, or names a task twice; the message names the line.
    """
    try:
        return _read(path)
    except OSError as error:
        remedy = ": write it as JSON Lines (.jsonl)" if error.errno == errno.EFBIG else ""
        raise UserError(f"{path}: {error.strerror}{remedy}") from error


def _read(path: Path) -> list[Prediction]:
    predictions: dict[str, Prediction] = {}
    for place, data in _entries(path):
        try:
            prediction = Prediction.model_validate(data)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"])) or "entry"
            raise UserError(f"{path}, {place}: {where}: {fault['msg']}") from error
        task = prediction.instance_id.lower()  # as images and grading name it
        if task in predictions:
            raise UserError(f"{path}, {place}: {prediction.instance_id} was predicted before")
        predictions[task] = prediction
    if not predictions:
        raise UserError(f"{path} holds no prediction")
    return list(predictions.values())


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix == ".json":
        content = read_bounded(path, most=MOST_BYTES)
        try:
            data = json_value(decoded(content.removeprefix(BOM_UTF8)))
            entries = list(data.values() if isinstance(data, dict) else data)
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is not in SWE-bench's format: {error}") from error
        yield from ((f"entry {number}", entry) for number, entry in enumerate(entries, start=1))
        return
    for number, line in enumerate(bounded_lines(path, longest=MOST_BYTES), start=1):
        if line.strip():
            yield f"line {number}", _parsed(path, f"line {number}", line.removeprefix(BOM_UTF8))


def _parsed(path: Path, place: str, line: bytes) -> Any:
    try:
        return json_value(decoded(line))
    except ValueError as error:
        fault = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise UserError(f"{path}, {place}: not in SWE-bench's format: no JSON: {fault}") from error


def _patch(verdict: Verdict) -> str:
    patch = verdict.details.get("patch", "")
    return patch if isinstance(patch, str) else ""


def predictions_text(trajectories: Iterable[Trajectory], *, model: str) -> str:
    """The patches of judged trajectories, a line each; of unfinished ones too, which the line says."""
    lines = [
        json_text(
            {
                "instance_id": trajectory.task_id,
                "model_name_or_path": model,
                "model_patch": _patch(trajectory.verdict),
                **({} if trajectory.stop_reason is StopReason.finished else {"unfinished": True}),
            }
        )
        for trajectory in trajectories
        if trajectory.verdict is not None
    ]
    return "".join(f"{line}\n" for line in lines)
