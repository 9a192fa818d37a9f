"""What the machines of a cluster have, asked on each of them side by side.

In: a recipe with a cluster that was joined, a directory. Out: a report a machine, or why there is none.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.cluster.transfer import MARK, sees
from turnmix.core.errors import first_line
from turnmix.core.finding import Finding
from turnmix.recipe.recipe import Recipe
from turnmix.store.versions import versions

PROBE = ".turnmix-probe"
"""A directory that lies beside runs while machines are asked whether they see it."""
OF_EACH_MACHINE = ("platform", "git_revision")
"""Versions that may differ: results follow from the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """Of one machine."""

    versions: dict[str, str | None]
    findings: tuple[Finding, ...]
    """Of what is to be made there."""
    sees_runs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine, as Ray knows it."""

    name: str
    resources: dict[str, float]
    report: NodeReport | str
    """Or why there is none."""


def examine_nodes(
    recipe: Recipe, *, runs: Path, check: Callable[[Recipe], Iterable[Finding]], seconds: float
) -> list[Node]:
    """All machines of the cluster that this process has joined. `runs`: where runs lie. `check`: what is asked on each
    of them, a function that is found by its name there; `seconds`: how long they have."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"]]
    with _probe(runs) as (place, mark):
        asked = [
            ray.remote(num_cpus=0, max_retries=0)(_examine)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            .remote(recipe, check, place, mark)
            for node in nodes
        ]
        ray.wait(asked, num_returns=len(asked), timeout=seconds)
        return [
            Node(
                name=f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
                resources=node["Resources"],
                report=_report(each),
            )
            for node, each in zip(nodes, asked, strict=True)
        ]


def _examine(
    recipe: Recipe, check: Callable[[Recipe], Iterable[Finding]], place: Path, mark: str
) -> NodeReport:
    return NodeReport(versions=versions(), findings=tuple(check(recipe)), sees_runs=sees(place, mark))


def _report(asked: Any) -> NodeReport | str:
    import ray

    try:
        report: NodeReport = ray.get(asked, timeout=0)
        return report
    except ray.exceptions.GetTimeoutError:
        return "no answer"
    except ray.exceptions.RayTaskError as error:
        return first_line(error.cause if isinstance(error.cause, Exception) else error)
    except ray.exceptions.RayError as error:
        return first_line(error)


@contextmanager
def _probe(runs: Path) -> Iterator[tuple[Path, str]]:
    """A directory below the nearest that is there, and what lies in it."""
    place = runs.resolve()
    while not place.is_dir():
        place = place.parent
    place, mark = place / f"{PROBE}-{secrets.token_hex(4)}", secrets.token_hex(8)
    place.mkdir()
    try:
        (place / MARK).write_text(mark)
        yield place, mark
    finally:
        shutil.rmtree(place, ignore_errors=True)
