"""A Ray cluster of several nodes on this machine, a small run on it, and what can befall both."""

import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from stored_trajectories import trajectories

from ray_machines import added, command, started
from turnmix.recipe.recipe import recipe_of
from turnmix.running.training import begin_run, resume_run
from turnmix.store.place import RECIPE

RECIPE_OF_RUNS = {
    "method": "dagger",
    "mixture": {"decay": 0.5, "floor": 0.5},
    "iterations": 2,
    "tasks": {"train": 40, "holdout": 8},
    "student": {"model": "nano-student", "cohort_size": 2, "max_new_tokens": 16},
    "scaffold": {"max_turns": 4},
    "rollouts": {
        "tasks_per_iteration": 16,
        "concurrency": 2,
        "accidents": {"kind": "breaking", "turns": [3, 4]},
    },
    "data": {"filter": "all"},
    "learner": {"learning_rate": 1.0e-3, "epochs": 1, "batch_size": 4},
    "evaluation": {"tasks": 4, "base": "late"},
}


class PretendCluster:
    """A head on which nothing runs, and nodes with room for `cpus` workers each."""

    def __init__(self, *, nodes=4, cpus=2):
        from ray.cluster_utils import Cluster

        self._cpus = cpus
        self.ray = Cluster()
        added(self.ray, num_cpus=0, include_dashboard=False, object_store_memory=100 << 20)
        self.nodes = [self._added() for _ in range(nodes)]
        self.seen = set()
        """Workers: their process ids, and when they began."""

    @property
    def address(self):
        return self.ray.address

    def _added(self):
        return added(self.ray, num_cpus=self._cpus, object_store_memory=100 << 20)

    def add_node(self):
        self.nodes.append(self._added())

    def workers(self, what="RolloutWorker"):
        """The process ids of workers, by node; `what`: of which kind, and what they do."""
        found = {}
        for node in self.nodes:
            raylet = node.all_processes["raylet"][0].process.pid
            found[node] = [pid for pid in children(raylet) if command(pid).startswith(f"ray::{what}")]
            self.seen.update((pid, started(pid)) for pid in found[node])
        return found

    def kill_raylet(self, node):
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        self.nodes.remove(node)

    def remove_node(self, node):
        self.ray.remove_node(node, allow_graceful=True)
        self.nodes.remove(node)

    def left_running(self):
        """Workers that were seen and do not end within minutes."""
        deadline = time.monotonic() + 300
        while left := [pid for pid, moment in self.seen if started(pid) == moment and command(pid)]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return left


@contextmanager
def pretend_cluster(**options):
    cluster = PretendCluster(**options)
    try:
        yield cluster
    finally:
        cluster.ray.shutdown()


def children(parent):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


class Watching:
    """A reporter that does something once so many trajectories of a stage are stored."""

    def __init__(self, befall=None, *, stage=("rollout", 1), after=1):
        self.lines = []
        self._befall, self._stage, self._after = befall, stage, after

    def note(self, line):
        self.say(line)

    def say(self, line):
        self.lines.append((time.monotonic(), line))

    @contextmanager
    def progress(self, *, seconds):
        yield self

    def begin(self, stage, iteration, *, total, done):
        pass

    def advance(self, stage, iteration, *, done, note):
        if self._befall is not None and (stage, iteration) == self._stage and done >= self._after:
            befall, self._befall = self._befall, None
            befall()

    def end(self, stage, iteration, figures):
        pass

    @property
    def has_befallen(self):
        return self._befall is None


def run_of(path, *, cluster=None, reporter=None, **changes):
    """A run, begun or gone on with; `cluster`: its section."""
    recipe = recipe_of({**RECIPE_OF_RUNS, **changes, **({"cluster": cluster} if cluster else {})})
    reporter = reporter or Watching()
    if (path / RECIPE).is_file():
        return resume_run(recipe, path, reporter=reporter)
    return begin_run(recipe, name="small", run=str(path), reporter=reporter)


def outcome(path):
    """What a run ended in: trajectories with their verdicts, and weights."""
    logs = [trajectories(path / name) for name in ("trajectories.jsonl", "evaluations.jsonl")]
    weights = {each.parent.name: each.read_bytes() for each in path.glob("checkpoints/*/model.safetensors")}
    return logs, weights
