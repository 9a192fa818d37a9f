"""What docs/scale-out.md says of clusters: its commands on two nodes in this machine, and its Kubernetes manifest."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from long_tests import takes_minutes

from turnmix.policies.server.process import free_port
from warm_python import MAIN, run_python

ray = pytest.importorskip("ray", reason="needs the package ray: pip install 'turnmix[ray]'")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale-out.md").read_text()
SMALL = [
    "iterations=1",
    "rollouts.tasks_per_iteration=4",
    "student.cohort_size=1",
    "scaffold.max_turns=2",
    "evaluation.tasks=1",
    "student.max_new_tokens=8",
    "cluster.heartbeat_seconds=30",
]
SECONDS = 1500


def command(beginning):
    """The words of the page's command that begins so, its comment left out."""
    text = re.sub(r"\\\n\s*", "", PAGE)
    [line, *_] = re.findall(rf"^    \$ ({re.escape(beginning)}[^#\n]*)", text, flags=re.MULTILINE)
    return shlex.split(line)


def answers(port):
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", int(port))) == 0


class Machines:
    """Two that are one, begun as the page says, at ports that nobody else has."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {"6379": str(free_port(None)), "8265": str(free_port(None))}
        paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
        said = dict([command("export")[1].split("=")])
        self.env = {**os.environ, **said, "PATH": os.pathsep.join(paths), "HOME": str(folder)}
        self.env.pop("PYTHONWARNINGS", None)  # of Ray itself
        self.started = []

    def here(self, words):
        """The command, for these machines."""
        words = [word.replace("HEAD", "127.0.0.1").replace("/shared", str(self.folder)) for word in words]
        for said, port in self.ports.items():
            words = [re.sub(rf"\b{said}\b", port, word) for word in words]
        return [sys.executable, "-m", "ray.scripts.scripts", *words[1:]] if words[0] == "ray" else words

    def start(self, beginning, *options):
        """`--block` keeps Ray's processes below the command, for which the page says `ray stop`."""
        words = [*self.here(command(beginning)), "--block", "--object-store-memory", "100000000", *options]
        with open(self.folder / f"{len(self.started)}.log", "wb") as log:
            self.started.append(
                subprocess.Popen(words, env=self.env, stdout=log, stderr=log, start_new_session=True)
            )

    def run(self, beginning, *more):
        return subprocess.run(
            [*self.here(command(beginning)), *more],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def wait_for(self, port):
        deadline = time.monotonic() + SECONDS
        while not answers(self.ports[port]):
            assert time.monotonic() < deadline, (self.folder / "0.log").read_text()
            time.sleep(0.1)

    def end(self):
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
        for process in self.started:
            process.wait(300)


@pytest.fixture
def machines(tmp_path):
    machines = Machines(tmp_path)
    try:
        machines.run("ray get-auth-token").check_returncode()
        machines.start(
            "ray start --head", "--num-cpus", "1", "--dashboard-agent-listen-port", str(free_port(None))
        )
        machines.wait_for("6379")
        machines.start(
            "ray start --address", "--num-cpus", "2", "--dashboard-agent-listen-port", str(free_port(None))
        )
        machines.wait_for("8265")
        yield machines
    finally:
        machines.end()


@takes_minutes
def test_a_cluster_is_started_checked_and_trains_a_run_as_the_page_says(machines):
    done = machines.run("ray job submit", *SMALL)
    run = machines.folder / "runs" / "many"
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    figures = json.loads((run / "summary.json").read_text())
    assert len(figures["iterations"]) == 1
    checked = machines.run("turnmix doctor")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def documents():
    return list(yaml.safe_load_all((ROOT / "docs" / "rayjob.yaml").read_text()))


def job():
    [found] = [each for each in documents() if each["kind"] == "RayJob"]
    return found


def mistakes(manifest):
    """By KubeRay's own schema."""
    jsonschema = pytest.importorskip("jsonschema", reason="Ray brings it: pip install 'turnmix[ray]'")
    schema = json.loads((ROOT / "tests" / "golden" / "kuberay" / "rayjob.schema.json").read_text())
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest)]


def test_the_manifest_is_one_by_kuberays_schema():
    assert mistakes(job()) == []
    misspelt = job()
    misspelt["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0][
        "imagee"
    ] = 1
    assert mistakes(misspelt) == ["Additional properties are not allowed ('imagee' was unexpected)"]


def test_the_manifests_volumes_and_versions_agree():
    cluster = job()["spec"]["rayClusterSpec"]
    pods = [each["template"]["spec"] for each in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    claims = [each["metadata"]["name"] for each in documents() if each["kind"] == "PersistentVolumeClaim"]
    for pod in pods:
        assert [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]] == claims
        assert "fsGroup" in pod["securityContext"]  # else root alone can write to them
        for container in pod["containers"]:
            mounts = [mount["name"] for mount in container["volumeMounts"]]
            assert mounts == [volume["name"] for volume in pod["volumes"]]
            assert container["image"].endswith(f"ray-{cluster['rayVersion']}")
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)[1]
    assert cluster["rayVersion"] == pinned
    assert f"rayproject/ray:{pinned}-" in PAGE


def test_the_manifests_command_is_a_recipe_that_fits_its_workers():
    pytest.importorskip("minigrid", reason="minigrid is of an extra: pip install 'turnmix[worlds]'")
    words = shlex.split(job()["spec"]["entrypoint"])
    done = run_python(MAIN, *words[1:], "--dry-run", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    settings = yaml.safe_load(done.stdout)["cluster"]
    [group] = job()["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    cores = int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert settings["rollout_workers"] * settings["cpus_per_worker"] <= group["replicas"] * cores
