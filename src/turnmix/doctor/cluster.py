"""Has the cluster what the recipe asks for, and is every machine of it like this one?

In: a recipe. Out: findings; none where it runs in one process. Nothing is placed: each machine is asked what it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from turnmix.cluster.connection import connected
from turnmix.cluster.examination import OF_EACH_MACHINE, Node, NodeReport, examine_nodes
from turnmix.cluster.room import claim
from turnmix.cluster.servers import gpus_of_server
from turnmix.cluster.settings import LOCAL, ClusterSettings, check_ray_installed
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.doctor.containers import check_containers
from turnmix.recipe.recipe import Recipe
from turnmix.store.versions import versions

SECONDS = 60.0
"""In which a machine that has other work begins a process there and answers."""


def check_cluster(recipe: Recipe, *, runs: Path = Path("runs")) -> Iterator[Finding]:
    """`runs`: where the run's directory goes."""
    settings = recipe.cluster
    if settings is None:
        return
    try:
        check_ray_installed()
    except UserError as error:
        yield Finding(subject="ray", passed=False, detail=str(error))
        return
    if settings.address == LOCAL:
        detail = "a cluster of this machine alone begins with the command, and ends with it"
        yield Finding(subject="address", passed=True, detail=detail)
        return
    try:
        with connected(settings, run="doctor"):
            nodes = examine_nodes(recipe, runs=runs, check=check_containers, seconds=SECONDS)
    except UserError as error:
        yield Finding(subject="address", passed=False, detail=str(error))
        return
    yield _size(nodes)
    yield from _places(recipe, settings, nodes)
    yield from _machines(nodes)


def _size(nodes: list[Node]) -> Finding:
    total = {name: sum(node.resources.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
    memory = sum(node.resources.get("memory", 0.0) for node in nodes) / 1e9
    machines = "1 machine" if len(nodes) == 1 else f"{len(nodes)} machines"
    detail = f"{machines} with {total['CPU']:g} CPU cores, {total['GPU']:g} GPUs, {memory:,.0f} GB of memory"
    return Finding(subject="size", passed=True, detail=detail)


def _places(recipe: Recipe, settings: ClusterSettings, nodes: list[Node]) -> Iterator[Finding]:
    """Is there room for each kind? Learners may have the GPUs of nobody else, and so may servers."""
    own = settings.resources_per_worker
    worker = {"CPU": settings.cpus_per_worker, "GPU": settings.gpus_per_worker, **own}
    for field, number, needed in (
        ("rollout_workers", settings.rollout_workers, worker),
        ("learners", settings.learners, {"GPU": settings.gpus_per_learner}),
        ("servers", settings.servers, {"GPU": float(gpus_of_server(recipe))}),
    ):
        if not number:
            continue
        fitting = sum(_fitting(node, needed) for node in nodes if any(needed.values()))
        asked = ", ".join(f"{amount:g} {name}" for name, amount in needed.items() if amount)
        if asked and fitting < number:
            detail = (
                f"cluster.{field}: {number} with {asked} each, but there is room for {fitting}: set it to "
                f"{fitting}, or add machines"
            )
            yield Finding(subject=field, passed=False, detail=detail)
        else:
            each = f"each with {asked}" if asked else "which ask for nothing"
            yield Finding(subject=field, passed=True, detail=f"{number}, {each}")
    gpus = claim(recipe).get("GPU", 0.0)
    here = sum(node.resources.get("GPU", 0.0) for node in nodes)
    if gpus > here:
        detail = (
            f"workers, learners and servers together ask for {gpus:g} GPUs, of which there are {here:g}: lower "
            "cluster.learners, cluster.servers or cluster.rollout_workers"
        )
        yield Finding(subject="gpus", passed=False, detail=detail)


def _fitting(node: Node, needed: dict[str, float]) -> int:
    """
    >>> node = Node(name="", resources={"CPU": 8.0, "GPU": 1.0}, report="")
    >>> _fitting(node, {"CPU": 2.0, "GPU": 0.0}), _fitting(node, {"CPU": 2.0, "GPU": 1.0}), _fitting(node, {"TPU": 1.0})
    (4, 1, 0)
    """
    counts = [node.resources.get(name, 0.0) // amount for name, amount in needed.items() if amount]
    return int(min(counts))


def _machines(nodes: list[Node]) -> Iterator[Finding]:
    here = versions()
    reports = [(node.name, node.report) for node in nodes if isinstance(node.report, NodeReport)]
    for node in nodes:
        if not isinstance(node.report, NodeReport):
            detail = f"{node.name}: {node.report}: is this TurnMix installed there, for the Python that Ray runs in?"
            yield Finding(subject="machine", passed=False, detail=detail)
    for name, report in reports:
        other = {
            package: (here.get(package), version)
            for package, version in report.versions.items()
            if package not in OF_EACH_MACHINE and here.get(package) != version
        }
        told = ", ".join(
            f"{package} {there or 'is not there'}, here {own}" for package, (own, there) in other.items()
        )
        if other:
            detail = f"{name}: {told}: install the same, or results depend on the machine"
            yield Finding(subject="versions", passed=False, detail=detail)
        failed = [finding for finding in report.findings if finding.passed is False]
        for finding in failed:
            yield Finding(subject=finding.subject, passed=False, detail=f"{name}: {finding.detail}")
    if reports and not any(_is_other(report, here) for _, report in reports):
        detail = f"{len(reports)} of {len(nodes)} have this TurnMix and the same packages"
        yield Finding(subject="versions", passed=True, detail=detail)
    ready = [name for name, report in reports if all(each.passed is not False for each in report.findings)]
    if ready:
        detail = f"{len(ready)} of {len(nodes)} can make what the tasks need"
        yield Finding(subject="sandboxes", passed=True, detail=detail)
    yield from _shared(reports)


def _is_other(report: NodeReport, here: dict[str, str | None]) -> bool:
    return any(
        here.get(package) != version
        for package, version in report.versions.items()
        if package not in OF_EACH_MACHINE
    )


def _shared(reports: list[tuple[str, NodeReport]]) -> Iterator[Finding]:
    apart = [name for name, report in reports if not report.sees_runs]
    if reports and not apart:
        yield Finding(subject="path", passed=True, detail="every machine sees the directory of the runs")
    elif reports:
        detail = (
            f"{len(apart)} of {len(reports)} machines, such as {apart[0]}, do not see the directory of the runs: "
            "weights go to them through Ray, which takes longer than a path that all share"
        )
        yield Finding(subject="path", passed=None, detail=detail)
