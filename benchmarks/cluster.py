"""What a Ray cluster costs a run's rollouts, on four nodes in this one machine: throughput, and the driver's load.

Model and world are simulated (simulated_world.py): each call sleeps, as an endpoint's answer or a sandbox's command is
waited for. All processes share this machine's cores, so the calls are to take so long that cores never bound them:
`busy_cores` says how many were busy, other processes' among them, and should stay well below those that there are. Each
worker has `--concurrency` trajectories under way. The driver stores each in a run and forces it to the disk. In turn,
`--rounds` times:

process     `--each` trajectories in this process, without Ray
1 node      as many by one worker
4 nodes     four times as many, with the same latencies four times, by four workers, one on each node

Prints a table and one line of JSON: `share_of_ideal_1` is the throughput of one worker over the process's,
`share_of_linear_4` that of four workers over four times that of one: medians over the rounds. Starting workers is left
out (`seconds_to_begin`), and so are models, weights, sandboxes and the network between machines.

With four workers each trajectory costs the driver CPU milliseconds, bytes on the disk, bytes and TCP segments on its
sockets (as `ss` counts them; what it shares with the head's raylet on its own machine is left out). `--observation` and
`--turns` say how large a trajectory is: what is larger than 100 kB Ray sends through its stores. `--scale` makes all
latencies longer, so that more trajectories may be under way at once; `peak_mb` is the most that the driver ever held.

Before that `--memory` trajectories are rolled out that take no time, as fast as they come: `rss_growth_mb` is how much
the driver's memory grew from the first tenth of them to the last, `late_bytes_each` how much by each one of the second
half, when buffers are as large as they get; `trajectories_per_second` is how many it took in, and `busy_driver_cpu_ms`
what each then cost it.

    OMP_NUM_THREADS=1 python benchmarks/cluster.py [--each N] [--concurrency N] [--rounds N] [--memory N]
"""

import argparse
import asyncio
import json
import math
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from ray.cluster_utils import Cluster
from simulated_world import Waiting  # noqa: F401  the recipe's

from turnmix.assembly.source import make_source
from turnmix.assembly.teacher import make_teacher
from turnmix.cluster.connection import connected
from turnmix.cluster.rollouts import cluster_rollouts
from turnmix.environments.environment import expert_of
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.recipe.recipe import recipe_of, recipe_yaml
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import TeacherMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.store.run_directory import RunDirectory

NODES = 4
MB = 1 << 20
NOBODY = ScriptedPolicy.of_actions("nobody", [text_action("")])


class Case:
    """So many trajectories of a recipe, by whoever collects."""

    def __init__(self, recipe, collecting, number, folder):
        self.recipe, self.collecting, self.number, self.folder = recipe, collecting, number, folder
        self.source = make_source(recipe)
        self.teacher = make_teacher(recipe, expert=partial(expert_of, self.source), acts=True).policy()

    def run(self, name, *, split="train", number=None, on_stored=lambda count: None):
        """Roll out and store; the seconds that it took, and the bytes that were stored."""
        number = number or self.number
        plans = make_plans(self.source.tasks(split)[:number], iteration=0, seed=0, cohort_size=1, beta=1.0)
        stored = RunDirectory.create(self.folder / name, recipe_yaml=recipe_yaml(self.recipe))

        def store(trajectory):
            assert trajectory.error is None, trajectory.error
            stored.trajectories.append(trajectory)
            on_stored(len(stored.trajectories))

        began = time.perf_counter()
        asyncio.run(
            self.collecting(
                RolloutRequest(
                    plans=plans,
                    source=self.source,
                    student=NOBODY,
                    teacher=self.teacher,
                    mixture=TeacherMixture(),
                    label=False,
                    concurrency=self.recipe.rollouts.concurrency,
                    on_trajectory=store,
                )
            )
        )
        seconds = time.perf_counter() - began
        assert len(stored.trajectories) == number, f"{len(stored.trajectories)} of {number} were stored"
        stored.close()
        return seconds, (self.folder / name / "trajectories.jsonl").stat().st_size


def recipe_for(address, workers, number, arguments):
    tasks = {
        "source": "simulated_world:Waiting",
        "number": number,
        "cycle": arguments.each,
        "turns": arguments.turns,
        "observation": arguments.observation,
        "holdout": max(arguments.memory, 8 * NODES),
        "scale": arguments.scale,
    }
    return recipe_of(
        {
            "method": "sft",
            "tasks": tasks,
            "student": {"model": "nano-student"},
            "rollouts": {"concurrency": arguments.concurrency},
            "cluster": {"address": address, "rollout_workers": workers},
        }
    )


@contextmanager
def case(recipe, number, folder, name):
    """Inside, a case whose workers have begun, each on a node of its own."""
    with cluster_rollouts(recipe, directory=folder / name, moment=None, say=print) as rollouts:
        each = Case(recipe, rollouts.collector(is_taught=True), number, folder)
        seen, tries = {}, 0
        while len(seen) < recipe.cluster.rollout_workers:
            each.run(f"{name} begins {tries}", split="holdout", number=8 * NODES)
            seen.update(rollouts.counts())
            tries += 1
            time.sleep(0.5)
        yield each


def traffic():
    """Bytes and TCP segments with data, to and from this process so far, over connections that are still open; NaN
    where there is no `ss`."""
    if shutil.which("ss") is None:
        return {"bytes": math.nan, "segments": math.nan}
    listed = subprocess.run(["ss", "-tniHOp"], capture_output=True, text=True, check=True).stdout
    totals = {"bytes": 0, "segments": 0}
    for line in listed.splitlines():
        if f"pid={os.getpid()}," in line:
            totals["bytes"] += sum(map(int, re.findall(r"\bbytes_(?:sent|received):(\d+)", line)))
            totals["segments"] += sum(map(int, re.findall(r"\bdata_segs_(?:in|out):(\d+)", line)))
    return totals


def memory_mb():
    """Of this process, resident."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def memory_figures(each, number):
    """The driver's memory, at each tenth of what is stored."""
    found = []

    def look(count):
        if count % max(1, number // 10) == 0:
            found.append(memory_mb())

    cpu = time.process_time()
    seconds, _ = each.run("memory", split="holdout", number=number, on_stored=look)
    return {
        "busy_driver_cpu_ms": 1000 * (time.process_time() - cpu) / number,
        "rss_mb": found[0],
        "rss_growth_mb": found[-1] - found[0],
        "late_bytes_each": (found[-1] - found[len(found) // 2 - 1]) * MB / (number / 2),
        "trajectories_per_second": number / seconds,
    }


def throughputs(cases, rounds):
    """Trajectories a second by round, and what four workers' cost the driver."""
    found, costs = [], []
    for index in range(rounds):
        rates = {}
        for name, each in cases.items():
            before, cpu, all_cpu = traffic(), time.process_time(), cpu_seconds()
            seconds, size = each.run(f"{name} {index}")
            rates[name] = each.number / seconds
            after = traffic()
        spent = {
            "driver_cpu_ms": 1000 * (time.process_time() - cpu),
            "driver_kb": (after["bytes"] - before["bytes"]) / 1000,
            "driver_segments": after["segments"] - before["segments"],
            "disk_kb": size / 1000,
        }
        costs.append({what: count / each.number for what, count in spent.items()})
        costs[-1]["busy_cores"] = (cpu_seconds() - all_cpu) / seconds
        found.append(rates)
    return found, {what: statistics.median(cost[what] for cost in costs) for what in costs[0]}


def cpu_seconds():
    """Of the whole machine, that were not idle."""
    counts = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(counts) - counts[3] - counts[4]) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description="What a Ray cluster costs a run's rollouts.")
    parser.add_argument("--each", type=int, default=32, help="trajectories of one worker")
    parser.add_argument(
        "--concurrency", type=int, default=16, help="trajectories that a worker has under way"
    )
    parser.add_argument("--scale", type=float, default=1, help="of all latencies")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--observation", type=int, default=2000, help="characters that a turn shows")
    parser.add_argument("--rounds", type=int, default=3, help="0: only the memory")
    parser.add_argument(
        "--memory", type=int, default=10_000, help="trajectories while the memory is watched; 0: none"
    )
    arguments = parser.parse_args()

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(NODES):
        cluster.add_node(num_cpus=2, object_store_memory=100 * MB)
    try:
        figures = measured(cluster.address, arguments)
    finally:
        cluster.shutdown()
    for name, value in figures.items():
        print(f"{name:<28}{value:>12.4g}")
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


def measured(address, arguments):
    many, few = NODES * arguments.each, arguments.each
    on_many, on_one = (
        recipe_for(address, workers, number, arguments) for workers, number in ((NODES, many), (1, few))
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(connected(on_many.cluster, run="benchmark"))
        began = time.perf_counter()
        nodes = stack.enter_context(case(on_many, many, folder, "4 nodes"))
        figures = {"seconds_to_begin": time.perf_counter() - began}
        if arguments.memory:
            figures |= memory_figures(nodes, arguments.memory)
        if not arguments.rounds:
            return figures
        node = stack.enter_context(case(on_one, few, folder, "1 node"))
        cases = {
            "process": Case(on_one, collect, few, folder),
            "1 node": node,
            "4 nodes": nodes,
        }
        rates, costs = throughputs(cases, arguments.rounds)
    return {
        "share_of_ideal_1": statistics.median(each["1 node"] / each["process"] for each in rates),
        "share_of_linear_4": statistics.median(each["4 nodes"] / (NODES * each["1 node"]) for each in rates),
        **{f"per_second, {name}": statistics.median(each[name] for each in rates) for name in cases},
        **costs,
        **figures,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
