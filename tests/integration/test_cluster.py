"""The same recipe on a Ray cluster of four nodes on this machine: the same trajectories, verdicts and weights, by
however many workers, and whatever befalls them."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from long_tests import takes_minutes
from pretend_cluster import RECIPE_OF_RUNS, Watching, outcome, pretend_cluster, run_of
from served_students import BASE, student_server
from stored_trajectories import trajectories

from turnmix.cluster.connection import connected
from turnmix.cluster.counts import NodeCounts
from turnmix.cluster.crew import Crew
from turnmix.cluster.order import ProcessParts, Whereabouts, WorkerParts
from turnmix.cluster.settings import ClusterSettings
from turnmix.cluster.worker import RolloutWorker
from turnmix.core.errors import InfrastructureError, TurnMixError, UserError
from turnmix.policies.server.transformers import TransformersEngine
from turnmix.recipe.recipe import recipe_of, recipe_yaml
from turnmix.running.evaluation import evaluate_target
from turnmix.running.given_recipe import GivenRecipe

pytest.importorskip("ray", reason="needs the package ray: pip install 'turnmix[ray]'")

HEARTBEAT = 30.0
"""Seconds in which a worker answers also where the machine has other work."""


@pytest.fixture(scope="module")
def cluster():
    with pretend_cluster(nodes=4) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process ends in."""
    path = tmp_path_factory.mktemp("one process") / "run"
    run_of(path)
    found = outcome(path)
    assert [len(log) for log in found[0]] == [32, 12]
    assert len(found[1]) == 2
    return found


def section(cluster, **settings):
    return {"address": cluster.address, "heartbeat_seconds": HEARTBEAT, **settings}


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_a_run_ends_as_in_one_process_by_however_many_workers(num_workers, cluster, expected, tmp_path):
    begun = []
    reporter = Watching(lambda: begun.append(cluster.workers()), after=4)
    run_of(tmp_path / "run", cluster=section(cluster, rollout_workers=num_workers), reporter=reporter)
    assert outcome(tmp_path / "run") == expected
    pids = [pid for node in begun[0].values() for pid in node]
    assert 1 <= len(pids) <= num_workers
    assert cluster.left_running() == []
    machines = [
        row["workers"]
        for row in map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
        if row["stage"] == "rollout"
    ]
    assert [sum(each["rollouts"] for each in row.values()) for row in machines] == [16, 16]
    assert len(list((tmp_path / "run" / "workers").iterdir())) >= 1


def test_a_model_is_evaluated_on_workers_as_in_one_process(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, given in (("here", {}), ("there", {"cluster": section(cluster)})):
        evaluate_target(
            "nano-student",
            given=GivenRecipe.of({**RECIPE_OF_RUNS, **given}),
            output=name,
            reporter=Watching(),
        )
    found = [trajectories(tmp_path / name / "evaluations.jsonl") for name in ("here", "there")]
    assert len(found[0]) == 4
    assert found[0] == found[1]
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("here", "there")]
    assert results[0] == results[1]


@takes_minutes
def test_a_student_behind_a_given_server_is_asked_by_workers_too(cluster, tmp_path, monkeypatch):
    for package in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'turnmix[serve]'")
    monkeypatch.chdir(tmp_path)
    server = student_server(TransformersEngine(device="cpu", dtype="float32"))
    try:
        server.open(BASE, log=tmp_path / "server.log")
        served = {"engine": "transformers", "endpoint": server._control.endpoint}
        student = {**RECIPE_OF_RUNS["student"], "server": served}
        scaffold = {**RECIPE_OF_RUNS["scaffold"], "max_tokens": 8192}
        for name, given in (("here", {}), ("there", {"cluster": section(cluster, rollout_workers=1)})):
            given = GivenRecipe.of({**RECIPE_OF_RUNS, "student": student, "scaffold": scaffold, **given})
            evaluate_target("nano-student", given=given, output=name, reporter=Watching())
    finally:
        server.close()
    found = [trajectories(tmp_path / name / "evaluations.jsonl") for name in ("here", "there")]
    assert len(found[0]) == 4
    assert found[0] == found[1]


def test_a_server_that_workers_cannot_ask_is_refused_before_any_work(cluster, tmp_path):
    student = {**RECIPE_OF_RUNS["student"], "server": {"engine": "vllm"}}
    with pytest.raises(UserError, match=r"cluster.servers: 0: .* such as cluster.servers=1"):
        run_of(tmp_path / "run", cluster=section(cluster), student=student)


UNLICENSED = """
import os
if "RAY_RAYLET_PID" in os.environ:  # as in every process that Ray begins
    raise RuntimeError("no licence here")
def kept(trajectory):
    return True
"""


def test_what_a_machine_lacks_ends_the_run_in_one_line_that_names_the_machine(cluster, tmp_path, monkeypatch):
    (tmp_path / "unlicensed.py").write_text(UNLICENSED)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TurnMixError, match=r"no licence here.* \(on \S+-[0-9a-f]{8}\)"):
        run_of(tmp_path / "run", cluster=section(cluster), data={"filter": "unlicensed:kept"})
    assert cluster.left_running() == []


def test_a_machine_that_is_left_out_gets_no_worker(cluster, tmp_path):
    ids = [node.node_id for node in cluster.nodes]
    settings = ClusterSettings(address=cluster.address, rollout_workers=1)
    parts = WorkerParts(
        recipe_yaml=recipe_yaml(recipe_of(RECIPE_OF_RUNS)),
        process=ProcessParts.here(),
        moment=None,
        logs=tmp_path,
    )
    counts = NodeCounts(tmp_path)
    counts.left_out += ids[:3]
    crew = Crew(
        RolloutWorker,
        parts,
        settings,
        run="left-out",
        counts=counts,
        say=print,
        on_change=lambda: changed.set(),
    )

    async def begun():
        await crew.begin()
        await asyncio.wait_for(changed.wait(), 300)
        place = crew.ready[0].place
        await crew.end()
        return place

    changed = asyncio.Event()
    with connected(settings, run="left-out"):
        assert asyncio.run(begun()).node == ids[3]
    counts.lose(Whereabouts(node=ids[3], name="the last one"), most=1)
    assert counts.left_out == ids


def test_trajectories_that_lose_worker_after_worker_end_the_run_which_can_be_gone_on_with(
    cluster, expected, tmp_path
):
    fault = WorkerKilled(cluster, random.Random(0))
    with pytest.raises(
        InfrastructureError, match=r"(?s)trajectories \S+ to \S+: 1 workers were lost at them.*go on with"
    ):
        run_of(
            tmp_path / "run",
            cluster=section(cluster, worker_failures=1),
            reporter=Watching(fault, after=4),
        )
    assert cluster.left_running() == []
    run_of(tmp_path / "run", cluster=section(cluster))
    assert outcome(tmp_path / "run") == expected


class Fault:
    """What befalls a run once `after` trajectories of an iteration are stored."""

    heartbeat = HEARTBEAT

    def __init__(self, cluster, generator):
        self.cluster, self.generator = cluster, generator

    def worker(self):
        victims = [(node, pid) for node, pids in self.cluster.workers().items() for pid in pids]
        return self.generator.choice(victims)

    def __call__(self):
        self.befall(*self.worker())

    def befall(self, node, pid):
        raise NotImplementedError

    def mend(self):
        """Bring the cluster back to its four nodes."""


class WorkerKilled(Fault):
    def befall(self, node, pid):
        os.kill(pid, signal.SIGKILL)


class WorkerHangs(Fault):
    heartbeat = 10.0

    def befall(self, node, pid):
        os.kill(pid, signal.SIGSTOP)


class RayletKilled(Fault):
    def befall(self, node, pid):
        self.cluster.kill_raylet(node)

    def mend(self):
        self.cluster.add_node()


class NodeReplaced(Fault):
    def befall(self, node, pid):
        self.cluster.remove_node(node)
        self.cluster.add_node()


FAULTS = [WorkerKilled, WorkerHangs, RayletKilled, NodeReplaced]


def befallen(kind, seed, cluster, path):
    """A run that a fault befalls; who watched it."""
    generator = random.Random(seed)
    fault = kind(cluster, generator)
    reporter = Watching(fault, stage=("rollout", generator.choice([1, 2])), after=generator.randint(2, 12))
    try:
        given = section(cluster, rollout_workers=2, heartbeat_seconds=kind.heartbeat)
        run_of(path, cluster=given, reporter=reporter)
    finally:
        fault.mend()
    assert reporter.has_befallen
    return reporter


@pytest.mark.parametrize("kind", FAULTS)
def test_a_run_that_a_fault_befalls_ends_as_the_undisturbed_one(kind, cluster, expected, tmp_path):
    reporter = befallen(kind, 0, cluster, tmp_path / "run")
    assert outcome(tmp_path / "run") == expected
    assert cluster.left_running() == []
    told = [line for _, line in reporter.lines if "a worker was lost" in line]
    assert told
    if kind is WorkerHangs:
        assert any(f"gave no sign of life for {2 * kind.heartbeat:g} s" in line for line in told)


def killed(path, cluster, *, after):
    """Begin a run, and kill its process once so many trajectories are stored."""
    code = "import json, pathlib, sys; sys.path[:0] = sys.argv[3:]; from pretend_cluster import run_of; "
    code += "run_of(pathlib.Path(sys.argv[1]), cluster=json.loads(sys.argv[2]))"
    said = path.with_name("said")
    with said.open("wb") as err:
        driver = subprocess.Popen(
            [sys.executable, "-c", code, str(path), json.dumps(section(cluster)), *sys.path],
            stdout=subprocess.DEVNULL,
            stderr=err,
        )
    log = path / "trajectories.jsonl"
    while not log.is_file() or log.read_bytes().count(b"\n") < after:
        assert driver.poll() in (None, 0), said.read_text()
        time.sleep(0.05)
    cluster.workers()
    driver.kill()
    driver.wait()


def test_a_driver_that_is_killed_leaves_nothing_running_and_resumes_to_the_same_end(
    cluster, expected, tmp_path
):
    killed(tmp_path / "run", cluster, after=5)
    assert cluster.seen
    assert cluster.left_running() == []
    run_of(tmp_path / "run", cluster=section(cluster, rollout_workers=1))
    assert outcome(tmp_path / "run") == expected


@takes_minutes
@pytest.mark.parametrize("seed", range(20))
def test_twenty_seeded_faults_change_nothing(seed, cluster, expected, tmp_path):
    generator = random.Random(f"fault {seed}")
    kind = generator.choice([*FAULTS, None])
    if kind is None:
        killed(tmp_path / "run", cluster, after=generator.randint(2, 28))
        run_of(tmp_path / "run", cluster=section(cluster))
    else:
        befallen(kind, seed, cluster, tmp_path / "run")
    assert outcome(tmp_path / "run") == expected
    assert cluster.left_running() == []
