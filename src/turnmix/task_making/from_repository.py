"""Tasks by injected bugs: one place of the code made wrong, kept when the repository's own tests catch it.

In: a repository whose tests pass. Out: task rows, the same for the same repository and seed. The tests
that fail are taken out of what the agent gets and come back for the verdict.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import libcst as cst

from turnmix.core.errors import UserError
from turnmix.environments.repositories.archive.files import store_archive, text_files
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.environments.repositories.test_paths import is_test_path
from turnmix.environments.tar_writer import pack_members
from turnmix.task_making.hidden_tests import place, without_tests
from turnmix.task_making.injectors import InjectedBug, find_bugs
from turnmix.task_making.issue import collect_failures
from turnmix.task_making.measurement import Measured, Unmeasured, compare, confirmed, measure, why_none_pass
from turnmix.task_making.python_source import UNREADABLE
from turnmix.task_making.task_maker import TaskMaker, draft_row
from turnmix.task_making.version_control import Differ, is_repository, resolve, tree_members

ATTEMPTS_PER_TASK = 20
PROGRESS_EVERY = 10
"""So many bugs are tried between two lines that say how far it is."""
PATIENCE = 5.0
"""A bug may make the tests this many times slower."""
LARGEST_SHARE = 0.5
"""Of the tests that one bug may break: one that breaks everything is found without looking."""
NO_PACKAGE = ("docs", "doc", "examples", "example", "benchmarks", "benchmark", "scripts", "tools", "build")
NO_MODULES = ("setup.py", "versioneer.py", "ez_setup.py", "noxfile.py", "conf.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workplace:
    """One repository, measured as it is."""

    draft: TaskRow
    archive: bytes
    files: Mapping[str, str]
    fixed: Measured
    differ: Differ


async def make_from_repository(path: Path, maker: TaskMaker) -> list[TaskRow]:
    """Up to `settings.number` tasks from the repository at `path`: its HEAD, or the directory as it is.

    Raises:
        UserError: no test passes there, or there is no code to break.
        InfrastructureError: sandboxes fail, and not for one candidate alone.
    """
    settings = maker.settings
    revision = resolve(path, "HEAD") if is_repository(path) else None
    members = tree_members(path, revision)
    archive, files = pack_members(members), text_files(members)
    with tempfile.TemporaryDirectory(prefix="turnmix-") as scratch:
        name = store_archive(settings.output, archive)
        draft = draft_row(settings, path=path, archive=name, tree=list(files))
        maker.progress(f"running the tests of {path} as they are, twice …")
        async with maker.said_while("the tests as they are"):
            fixed = await measure(draft, archive, b"", execute=maker.execute)
        if isinstance(fixed, Unmeasured):
            raise UserError(f"{path}: {fixed.reason}")
        if not fixed.passing:
            raise UserError(
                f"{path}: no test passes with {settings.python}, so no bug can be caught: "
                f"{why_none_pass(fixed)}\n{fixed.log[-2000:]}"
            )
        maker.progress(f"{len(fixed.passing)} tests pass in {fixed.seconds:.1f} s")
        workplace = _Workplace(
            draft=draft.model_copy(update={"timeout_seconds": 10.0 + PATIENCE * fixed.seconds}),
            archive=archive,
            files=files,
            fixed=fixed,
            differ=Differ(Path(scratch)),
        )
        rows = await _make(workplace, maker)
    if not rows and maker.failures:
        raise maker.failures[-1]
    if not rows:
        raise UserError(f"{path}: its tests catch none of the bugs that were tried: name other tests")
    return rows


async def _make(workplace: _Workplace, maker: TaskMaker) -> list[TaskRow]:
    settings = maker.settings
    generator = random.Random(f"bugs {settings.seed}")
    candidates = _candidates(workplace.files, generator)
    rows: list[TaskRow] = []
    most = settings.number * ATTEMPTS_PER_TASK
    for tried in range(0, most, settings.jobs):
        if tried and tried % PROGRESS_EVERY < settings.jobs:
            maker.progress(f"{tried} bugs tried, of {most} at most: {len(rows)} of {settings.number} tasks")
        batch = [*islice(candidates, min(settings.jobs, most - tried))]
        made = await asyncio.gather(
            *(
                maker.attempt(_told(file, bug), partial(_try, file, bug, workplace, maker))
                for file, bug in batch
            )
        )
        rows += [row for row in made if row is not None]
        if len(rows) >= settings.number or not batch:
            break
    return rows[: settings.number]


def _candidates(files: Mapping[str, str], generator: random.Random) -> Iterator[tuple[str, InjectedBug]]:
    """All bugs of all modules in a random order in which every kind comes as often as it can."""
    by_kind: dict[str, list[tuple[str, InjectedBug]]] = {}
    for file, source in files.items():
        if not _is_package_code(file):
            continue
        try:
            for bug in find_bugs(source):
                by_kind.setdefault(bug.kind, []).append((file, bug))
        except UNREADABLE:
            continue
    if not by_kind:
        raise UserError("there is no function in this repository's package that could be broken")
    for kind in sorted(by_kind):
        generator.shuffle(by_kind[kind])
    while by_kind:
        kind = generator.choice(sorted(by_kind))
        yield by_kind[kind].pop()
        if not by_kind[kind]:
            del by_kind[kind]


def _is_package_code(path: str) -> bool:
    *directories, name = path.split("/")
    is_code = name.endswith(".py") and name not in NO_MODULES and not is_test_path(path)
    return is_code and not set(directories) & set(NO_PACKAGE)


def _told(file: str, bug: InjectedBug) -> str:
    return f"{bug.kind} in {file}, {bug.function}"


async def _try(file: str, bug: InjectedBug, workplace: _Workplace, maker: TaskMaker) -> TaskRow | None:
    """The task of one bug, or None when the tests do not catch it as they should."""
    told = _told(file, bug)
    try:
        wrong = bug.apply()
        compile(wrong, file, "exec", dont_inherit=True)
    except (*UNREADABLE, cst.CSTValidationError):
        return None
    source = workplace.files[file]
    if wrong == source:
        return None
    row = workplace.draft.model_copy(
        update={"base_patch": workplace.differ.diff({file: source}, {file: wrong})}
    )
    first = await maker.execute(row, workplace.archive, b"")
    caught = [test for test in workplace.fixed.passing if not first.passes(test)]
    if not first.is_complete or not caught or len(caught) > LARGEST_SHARE * len(workplace.fixed.passing):
        maker.progress(f"dropped: {told}: {len(caught)} tests fail")
        return None
    broken = await measure(row, workplace.archive, b"", execute=maker.execute, first=first)
    turned = None if isinstance(broken, Unmeasured) else compare(broken, workplace.fixed)
    if isinstance(broken, Unmeasured) or turned is None or not turned.fail_to_pass:
        maker.progress(f"dropped: {told}: its tests are unstable")
        return None
    hidden = _hide(workplace.files, turned.fail_to_pass)
    tests = {name: workplace.files[name] for name in hidden}
    digest = hashlib.sha256(f"{file}\0{wrong}".encode(errors="surrogateescape")).hexdigest()[:8]
    instance_id = f"{row.repository}__{bug.kind.replace(' ', '-')}-{digest}"
    failures = collect_failures(turned.fail_to_pass, broken.failing, workplace.files)
    diff = workplace.differ.diff
    row = row.model_copy(
        update={
            "instance_id": instance_id,
            "source": "injection",
            "base_patch": diff({file: source, **tests}, {file: wrong, **hidden}),
            "gold_patch": diff({file: wrong}, {file: source}),
            "test_patch": diff(hidden, tests),
            "fail_to_pass": turned.fail_to_pass,
            "pass_to_pass": turned.pass_to_pass,
            "problem_statement": await maker.writer.write(failures, random.Random(instance_id)),
        }
    )
    done = await confirmed(row, workplace.archive, execute=maker.execute)
    if done is None:
        maker.progress(f"dropped: {told}: the gold patch does not resolve it, or is no UTF-8")
        return None
    return done.model_copy(update={"timeout_seconds": maker.settings.timeout_seconds})


def _hide(files: Mapping[str, str], tests: tuple[str, ...]) -> dict[str, str]:
    """The test files without `tests`; a file that cannot be read as Python stays as it is."""
    counted = Counter(place(test)[0] for test in tests)
    hidden: dict[str, str] = {}
    for path in sorted(counted):
        places = {place(test)[1] for test in tests if place(test)[0] == path}
        if path in files and is_test_path(path):
            try:
                hidden[path] = without_tests(files[path], places)
            except UNREADABLE:
                continue
    return hidden
