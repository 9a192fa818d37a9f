"""`turnmix tasks prepare`: a task file of a published set, which needs no network afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import InfrastructureError, MissingDependencyError, TurnMixError, UserError
from turnmix.core.json_text import json_text
from turnmix.core.printable import printable_line
from turnmix.environments.repositories.adapters.fetching import fetch_rows
from turnmix.environments.repositories.adapters.registry import Adapted, adapt_rows
from turnmix.environments.repositories.source import preparation
from turnmix.environments.repositories.task_file import MOST_ERRORS_SHOWN, TaskRow, write_rows
from turnmix.recipe.recipe import Recipe, load_recipe
from turnmix.sandboxes.container.settings import ContainerSettings
from turnmix.sandboxes.selection import ContainerSandboxSettings
from turnmix.viewing.console import make_console


def prepare_tasks(words: Sequence[str], *, is_pulling: bool) -> None:
    """Fetch the rows of the recipe's dataset, write its task file, and check or pull the images.

    Raises:
        UserError: the recipe names no dataset, or no row of it is a task.
        InfrastructureError: the hub gave no rows, or an image could not be fetched.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    if not names:
        raise UserError("name a recipe, such as recipes/swe_gym_qwen3_4b_dagger.yaml")
    recipe = load_recipe(names[0], overrides, unused=("student", "teacher", "trackers", "scaffold"))
    prepared = preparation(recipe.tasks)
    if prepared is None:
        raise UserError(
            "tasks.dataset is not set: name a published set, such as tasks.dataset.rows=SWE-Gym/SWE-Gym, and with "
            "tasks.path the task file to write"
        )
    console = make_console()
    path, dataset = prepared
    console.print(printable_line(f"rows of {dataset.rows} …"))
    adapted = adapt_rows(dataset, _counted(fetch_rows(dataset), console))
    _tell_rejections(console, path, adapted)
    if not adapted.rows:
        raise UserError(f"tasks.dataset.rows: {dataset.rows} holds no task")
    write_rows(path, adapted.rows)
    left_out = f", {adapted.left_out} of repositories not wanted" if adapted.left_out else ""
    told = printable_line(f"{len(adapted.rows)} tasks in {path}{left_out}")
    console.print(told, style="bold", soft_wrap=True)
    _see_to_images(console, recipe, adapted.rows, is_pulling=is_pulling)


def _counted(rows: Iterator[Mapping[str, Any]], console: Console) -> Iterator[Mapping[str, Any]]:
    for number, row in enumerate(rows, start=1):
        if number % 500 == 0:
            console.print(f"{number} rows read")
        yield row


def _tell_rejections(console: Console, path: Path, adapted: Adapted) -> None:
    rejections = adapted.rejections
    for rejection in rejections[:MOST_ERRORS_SHOWN]:
        told = f"rejected: row {rejection.line} ({rejection.instance_id}): {rejection.reason}"
        console.print(printable_line(told), soft_wrap=True)
    if len(rejections) > MOST_ERRORS_SHOWN:
        listing = path.with_name(f"{path.stem}.rejected.jsonl")
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text(
            "".join(
                json_text({"row": r.line, "instance_id": r.instance_id, "reason": r.reason}) + "\n"
                for r in rejections
            )
        )
        more = len(rejections) - MOST_ERRORS_SHOWN
        console.print(printable_line(f"… and {more} more: {listing}"), soft_wrap=True)


def _see_to_images(console: Console, recipe: Recipe, rows: Sequence[TaskRow], *, is_pulling: bool) -> None:
    """Say which images are here; or fetch those that are not."""
    from turnmix.sandboxes.container.engine import engine_for
    from turnmix.sandboxes.container.images import ensure_image, has_image

    images = list(dict.fromkeys(row.image for row in rows if row.image is not None))
    sandbox = recipe.sandbox
    settings = sandbox.container if isinstance(sandbox, ContainerSandboxSettings) else ContainerSettings()
    try:
        engine = engine_for(settings)
    except MissingDependencyError as error:
        if is_pulling:
            raise
        console.print(f"images were not looked for: {error}", soft_wrap=True)
        return
    missing = [image for image in images if not has_image(engine.api, image)]
    console.print(f"images: {len(images) - len(missing)} of {len(images)} are here")
    if missing and not is_pulling:
        others = (
            f"the others, such as {missing[0]}, are fetched when a task needs them; --pull fetches them now"
        )
        console.print(printable_line(others), soft_wrap=True)
        return
    failures = []
    for number, image in enumerate(missing, start=1):
        console.print(printable_line(f"image {number} of {len(missing)}: {image}"), soft_wrap=True)
        try:
            ensure_image(engine.api, image, settings)
        except TurnMixError as error:
            failures.append(str(error))
            console.print(f"  {error}", soft_wrap=True)
    if failures:
        raise InfrastructureError(f"{len(failures)} images could not be fetched; the first: {failures[0]}")
