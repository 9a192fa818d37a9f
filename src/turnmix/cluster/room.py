"""What a run takes of a cluster, and what a cluster has.

In: a recipe, or a cluster's section. Out: amounts by resource, as Ray names them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from turnmix.cluster.connection import connected
from turnmix.cluster.servers import gpus_of_server
from turnmix.cluster.settings import LOCAL, ClusterSettings
from turnmix.recipe.recipe import Recipe


def claim(recipe: Recipe) -> Mapping[str, float]:
    """What workers, learners and servers of a run take together; a process of one's own takes nothing."""
    settings = recipe.cluster
    if settings is None:
        return {}
    amounts: defaultdict[str, float] = defaultdict(float)
    worker = {
        "CPU": settings.cpus_per_worker,
        "GPU": settings.gpus_per_worker,
        **settings.resources_per_worker,
    }
    for name, amount in worker.items():
        amounts[name] += settings.rollout_workers * amount
    amounts["GPU"] += settings.learners * settings.gpus_per_learner
    amounts["GPU"] += settings.servers * gpus_of_server(recipe)
    return {name: amount for name, amount in amounts.items() if amount}


class ClusterRoom:
    """How many runs fit side by side: one that holds workers and waits for learners that another one's workers keep
    out would wait forever."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        """Asks each cluster once, but for those that begin with their run.

        Raises:
            UserError: there is no such cluster.
        """
        settings = {each.cluster.address: each.cluster for each in recipes if each.cluster is not None}
        self._rooms = {address: _total(each) for address, each in settings.items() if address != LOCAL}

    def lacking(self, recipe: Recipe, *, beside: Sequence[Recipe]) -> str | None:
        """What there is not enough of for one more run; None: it may begin, as one that is alone always may."""
        if recipe.cluster is None or recipe.cluster.address not in self._rooms:
            return None
        address, room = recipe.cluster.address, self._rooms[recipe.cluster.address]
        others = [each for each in beside if each.cluster is not None and each.cluster.address == address]
        for name, amount in claim(recipe).items():
            free = room.get(name, 0.0) - sum(claim(each).get(name, 0.0) for each in others)
            if others and amount > free:
                return f"it takes {amount:g} {name}, of which {max(free, 0.0):g} are left beside the others"
        return None


def _total(settings: ClusterSettings) -> Mapping[str, float]:
    import ray

    with connected(settings, run="sweep"):
        total: dict[str, float] = ray.cluster_resources()
        return total
