"""Actors on this very machine, which sees the run's directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def beside_this(
    actor: type,
    *,
    name: str | None = None,
    concurrency_groups: Mapping[str, int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """The actor's class, to be made with `.remote(…)`. It goes with this process. `concurrency_groups`: threads by the
    name of a group; `environment`: further variables of its process."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    named = {} if name is None else {"name": name}
    node = ray.get_runtime_context().get_node_id()
    return ray.remote(
        num_cpus=0,
        concurrency_groups=dict(concurrency_groups or {}),
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        runtime_env={"env_vars": dict(environment or {})},
    )(actor).options(**named)
