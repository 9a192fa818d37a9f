"""Five real packages, fetched from the package index: tasks of their releases and of bugs injected into them."""

import asyncio
import functools
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from long_tests import takes_minutes
from own_code import commit_all, grades, maker_into, oracle_trajectories, source_of
from scaffold_in_sandbox import needs_sandbox

from turnmix.environments.repositories.task_file import load_rows, write_rows
from turnmix.rollout.mixture import DaggerMixture, TeacherMixture
from turnmix.task_making.from_repository import make_from_repository
from turnmix.task_making.from_revisions import make_from_revisions

pytestmark = [needs_sandbox, takes_minutes]

RELEASES = {
    "cachetools": ("5.3.3", "5.4.0"),
    "parse": ("1.20.0", "1.20.1"),
    "sqlparse": ("0.4.3", "0.4.4"),
    "voluptuous": ("0.15.1", "0.15.2"),
    "xmltodict": ("0.14.1", "0.14.2"),
}
"""Small packages in nothing but Python whose source distributions carry tests that need only pytest; no step takes
more edits than fit into `MAX_TURNS` beside a student that undoes them."""
SHARE_RESOLVED = 0.9
MAX_TURNS = 150


def fetch(folder, release):
    """Unpack the source distribution of `release`; None when the index cannot be reached."""
    name, version = release
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [
        "--no-binary",
        ":all:",
        "--retries",
        "1",
        "--dest",
        str(folder / "sdists"),
        f"{name}=={version}",
    ]
    if subprocess.run(command, capture_output=True).returncode != 0:
        return None
    with tarfile.open(folder / "sdists" / f"{name}-{version}.tar.gz") as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder / "trees")
    return folder / "trees" / f"{name}-{version}"


@pytest.fixture(scope="module")
def task_file(tmp_path_factory):
    """Two tasks of each package: the step from one release to the next, and an injected bug."""
    folder = tmp_path_factory.mktemp("packages")
    releases = [(name, version) for name, versions in RELEASES.items() for version in versions]
    with ThreadPoolExecutor(2) as pool:
        trees = dict(zip(releases, pool.map(functools.partial(fetch, folder), releases)))
    if None in trees.values():
        pytest.skip("the package index cannot be reached by pip, which fetches the packages of this test")

    async def make(name, old, new):
        repository = folder / "repositories" / name
        shutil.copytree(trees[name, old], repository)
        first = commit_all(repository, old)
        for path in repository.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(trees[name, new], repository, dirs_exist_ok=True)
        second = commit_all(repository, new)
        making = maker_into(folder / "tasks.jsonl", number=1, pytest=("-o", "addopts="))
        async with slots:
            of_releases = await make_from_revisions(repository, first, second, making)
            return of_releases + await make_from_repository(repository, making)

    async def make_all():
        made = await asyncio.gather(*(make(name, *versions) for name, versions in RELEASES.items()))
        return [row for rows in made for row in rows]

    slots = asyncio.Semaphore(2)
    write_rows(folder / "tasks.jsonl", asyncio.run(make_all()))
    return folder / "tasks.jsonl"


def test_every_package_gives_a_task_of_its_history_and_one_of_an_injected_bug(task_file):
    found = {(row.repository, row.source) for row in load_rows(task_file)}
    assert found == {(name, source) for name in RELEASES for source in ("revisions", "injection")}


def test_gold_patches_are_resolved_and_empty_ones_are_not(task_file):
    source = source_of(task_file)
    rows = {row.instance_id: row for row in load_rows(task_file)}
    gold = grades(source, {name: row.gold_patch for name, row in rows.items()})
    assert {name for name, verdict in gold.items() if not verdict.resolved} == set()
    empty = grades(source, dict.fromkeys(rows, ""))
    assert {name for name, verdict in empty.items() if verdict.resolved} == set()


@pytest.mark.parametrize(
    ("mixture", "iteration"),
    [(TeacherMixture(), 1), (DaggerMixture(decay=1, floor=0.5), 2)],
    ids=["alone", "with a random student in half of the turns"],
)
def test_the_oracle_resolves_nine_of_ten(task_file, mixture, iteration):
    trajectories = oracle_trajectories(
        source_of(task_file, max_turns=MAX_TURNS), mixture, iteration=iteration
    )
    resolved = [trajectory.verdict is not None and trajectory.verdict.resolved for trajectory in trajectories]
    assert sum(resolved) >= SHARE_RESOLVED * len(RELEASES) * 2
    students = [turn.actor == "student" for trajectory in trajectories for turn in trajectory.turns]
    assert sum(students) / len(students) == pytest.approx(0 if iteration == 1 else 0.5, abs=0.1)
