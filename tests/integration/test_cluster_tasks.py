"""Tasks of a user's own code are made on the workers of a cluster: the same file as on this machine alone."""

import itertools
import os
import signal
import threading
from contextlib import contextmanager, suppress

import pytest
from lean_python import lean_python
from pretend_cluster import pretend_cluster
from scaffold_in_sandbox import needs_sandbox

from turnmix.cli.command_line import main

pytest.importorskip("ray", reason="needs the package ray: pip install 'turnmix[ray]'")
pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from own_code import commit_all
from test_task_file_source import NEW_SHELF, NEW_TESTS, SHELF, TESTS, lay

pytestmark = needs_sandbox


@pytest.fixture(scope="module")
def cluster():
    with pretend_cluster(nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    path = tmp_path_factory.mktemp("code") / "shelf"
    lay(path, SHELF, TESTS)
    old = commit_all(path, "old")
    lay(path, NEW_SHELF, NEW_TESTS)
    return path, old, commit_all(path, "new")


def made(folder, way, *words):
    """The task file that the command writes."""
    output = folder / "tasks.jsonl"
    words = [*way, *words, "--output", output, "--python", lean_python()]
    assert main(["tasks", "make", *map(str, words)]) == 0
    return output.read_bytes()


@contextmanager
def one_killed_at_work(cluster):
    """Inside, a worker is killed, the first that is seen to work; gives a list of it."""
    killed, is_over = [], threading.Event()

    def kill():
        while not killed and not is_over.wait(0.02):
            for pid in [*itertools.chain(*cluster.workers("ExecutionWorker.execute").values())][:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        yield killed
    finally:
        is_over.set()
        killing.join()


def test_tasks_of_injected_bugs_are_the_same_by_however_many_workers_also_where_one_is_lost(
    cluster, shelf, tmp_path, capsys
):
    way = ("--from-repository", shelf[0], "--number", 1)
    there = ("--cluster", cluster.address, "--workers")
    files = [made(tmp_path / "here", way)]
    files += [made(tmp_path / f"by-{number}", way, *there, number) for number in (1, 4)]
    with one_killed_at_work(cluster) as killed:
        files.append(made(tmp_path / "by-2", way, *there, 2))
    assert len(files[0].splitlines()) == 1
    assert files == [files[0]] * 4
    assert len(killed) == 1
    assert "a worker was lost" in capsys.readouterr().out
    assert cluster.left_running() == []


def test_tasks_of_revisions_are_the_same_on_workers(cluster, shelf, tmp_path):
    way = ("--from-revisions", *shelf)
    here = made(tmp_path / "here", way)
    assert len(here.splitlines()) == 1
    assert made(tmp_path / "there", way, "--cluster", cluster.address) == here


def test_a_machine_without_the_tests_environment_is_named(cluster, shelf, tmp_path, capsys):
    words = ["--from-repository", shelf[0], "--cluster", cluster.address, "--python", tmp_path / "nothing"]
    assert main(["tasks", "make", *map(str, words), "--output", str(tmp_path / "tasks.jsonl")]) != 0
    told = capsys.readouterr().err
    assert str(tmp_path / "nothing") in told
    assert "(on " in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--workers", "2"), "--workers 2: of which cluster? Add --cluster"),
        (("--cluster", "head"), "--cluster head: is neither auto, local nor the host:port"),
        (("--cluster", "auto", "--workers", "0"), "--workers 0: Input should be greater than or equal to 1"),
    ],
)
def test_a_cluster_that_is_none_is_told(words, told, shelf, tmp_path, capsys):
    given = ["--from-repository", str(shelf[0]), "--output", str(tmp_path / "tasks")]
    assert main(["tasks", "make", *given, *words]) != 0
    assert told in capsys.readouterr().err
