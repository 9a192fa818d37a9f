"""How many sandboxes the file descriptors of this process carry.

In: a recipe. Out: a number, or, before any work starts, an error that says what to do.
"""

from __future__ import annotations

import os

from turnmix.core.errors import UserError
from turnmix.core.file_descriptors import limit_text, num_open, open_limit
from turnmix.recipe.recipe import Recipe
from turnmix.sandboxes.starts import HELD, LAUNCHED, STARTING, starts_at_once

OTHERS = 16
"""Files of the run, of models and of libraries, beside what is open now."""
OF_A_GPU = 48
"""Its driver's devices and its libraries' connections."""
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")
OF_AN_ENGINE = 24
"""Connections to Docker or Podman that all containers share."""

OF_A_SCAFFOLD = 8
"""Of the user's own: its log; inside a sandbox the socket there and two connections, each of which is three on its way
to the gateway; outside of it fewer: its watchdog's pipes, and a connection for its model and one for its commands."""


def descriptors_needed(recipe: Recipe, concurrency: int) -> int:
    """How many this process has open when so many trajectories are under way."""
    fixed = num_open() + OTHERS + LAUNCHED + STARTING * min(starts_at_once(), concurrency)
    if any(map(os.path.exists, GPU_DEVICES)):
        fixed += OF_A_GPU
    if recipe.sandbox.kind == "container":
        fixed += OF_AN_ENGINE
    held = HELD * concurrency if recipe.tasks.needs_sandbox else 0
    if recipe.rollouts.scaffold is not None:
        held += OF_A_SCAFFOLD * concurrency
    return fixed + held + _connections(recipe, concurrency)


def most_sandboxes(recipe: Recipe) -> int:
    """At most so many trajectories may be under way; 0 or less: not even one."""
    low, high = 0, open_limit()
    while low < high:
        middle = (low + high + 1) // 2
        if descriptors_needed(recipe, middle) <= open_limit():
            low = middle
        else:
            high = middle - 1
    return low


def check_descriptors(recipe: Recipe) -> None:
    """Raise UserError when the recipe's trajectories would take more than there are."""
    wanted = recipe.rollouts.concurrency
    needed = descriptors_needed(recipe, wanted)
    if needed <= open_limit():
        return
    connections = _connections(recipe, wanted)
    beside = f" with {connections:,} connections to endpoints" if connections else ""
    lower = f", or set rollouts.concurrency={most}" if (most := most_sandboxes(recipe)) > 0 else ""
    raise UserError(
        f"rollouts.concurrency = {wanted}: so many trajectories at once{beside} take {needed:,} file descriptors, and "
        f"this process may have fewer ({limit_text()}): raise it (ulimit -n {needed}){lower}"
    )


def _connections(recipe: Recipe, concurrency: int) -> int:
    """To the endpoints of the teacher and the student, one for each request under way."""
    bounds = [recipe.teacher.max_connections]
    if recipe.student.server is not None:
        bounds.append(recipe.student.server.max_concurrency)
    return sum(min(bound, concurrency) for bound in bounds)
