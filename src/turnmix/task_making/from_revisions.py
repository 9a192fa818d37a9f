"""Tasks from a repository's own history: the old code, the new tests, and the difference as the gold patch.

In: a git repository and two revisions. Out: one task for each commit between them that makes a test
pass; where no single one does, one for the whole difference.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.environments.repositories.archive.files import store_archive, text_files
from turnmix.environments.repositories.patch_text import text_sections
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.environments.repositories.test_paths import is_test_path
from turnmix.environments.tar_writer import pack_members
from turnmix.task_making.issue import collect_failures
from turnmix.task_making.measurement import Unmeasured, compare, confirmed, measure, why_none_pass
from turnmix.task_making.pytest_error import pytest_error
from turnmix.task_making.task_maker import TaskMaker, draft_row
from turnmix.task_making.version_control import (
    changed_files,
    commits_between,
    diff_revisions,
    resolve,
    tree_members,
)

DOCUMENTATION = (".md", ".rst", ".txt", ".html", ".css", ".png", ".svg", ".ipynb")
METADATA = ("PKG-INFO", "MANIFEST.in", "CHANGELOG", "CHANGES", "NEWS", "AUTHORS", "LICENSE")


async def make_from_revisions(path: Path, old: str, new: str, maker: TaskMaker) -> list[TaskRow]:
    """Up to `settings.number` tasks from the history of the git repository at `path`.

    Raises:
        UserError: a revision is not there, or no commit between them makes a test pass.
        InfrastructureError: sandboxes fail, and not for one commit alone.
    """
    old, new = resolve(path, old), resolve(path, new)
    rows: list[TaskRow] = []

    async def attempt(pairs: Sequence[tuple[str, str]]) -> None:
        made = await asyncio.gather(
            *(maker.attempt(after[:10], partial(_try, path, before, after, maker)) for before, after in pairs)
        )
        rows.extend(row for row in made if row is not None)

    pairs, settings = commits_between(path, old, new), maker.settings
    for first in range(0, len(pairs), settings.jobs):
        if len(rows) < settings.number:
            batch = pairs[first : first + settings.jobs]
            for number, (_, after) in enumerate(batch, start=first + 1):
                maker.progress(f"commit {number} of {len(pairs)}: {after[:10]}")
            await attempt(batch)
    if not rows and len(pairs) > 1:
        await attempt([(old, new)])
    if not rows and maker.failures:
        raise maker.failures[-1]
    if not rows:
        raise UserError(
            f"{path}: no commit from {old[:10]} to {new[:10]} changes code and makes a test of its own pass: "
            "name other revisions"
        )
    return rows[: settings.number]


async def _try(path: Path, old: str, new: str, maker: TaskMaker) -> TaskRow | None:
    """The task of one pair of revisions, if it is one."""
    settings = maker.settings
    changed = changed_files(path, old, new)
    tests = [name for name in changed if is_test_path(name)]
    code = [name for name in changed if not is_test_path(name) and not _is_documentation(name)]
    told = f"{resolve(path, new)[:10]}"
    if not any(name.endswith(".py") for name in tests) or not any(name.endswith(".py") for name in code):
        maker.progress(f"dropped: {told}: it does not change both code and tests")
        return None
    archive = pack_members(tree_members(path, resolve(path, old)))
    new_files = text_files(tree_members(path, resolve(path, new)))
    name = store_archive(settings.output, archive)
    row = draft_row(settings, path=path, archive=name, tree=list(new_files))
    gold = text_sections(diff_revisions(path, old, new, code).encode(errors="surrogateescape"))
    row = row.model_copy(
        update={
            "instance_id": f"{row.repository}__{told}",
            "source": "revisions",
            "gold_patch": gold.decode(errors="surrogateescape"),
            "test_patch": diff_revisions(path, old, new, tests),
        }
    )
    fixed = await measure(row, archive, gold, execute=maker.execute)
    if isinstance(fixed, Unmeasured):
        maker.progress(f"dropped: {told}: {fixed.reason}")
        return None
    if not fixed.passing:
        maker.progress(f"dropped: {told}: {why_none_pass(fixed)}")
        return None
    broken = await measure(row, archive, b"", execute=maker.execute)
    if isinstance(broken, Unmeasured):
        maker.progress(f"dropped: {told}: without the change, {broken.reason}")
        return None
    if not broken.has_begun:
        maker.progress(
            f"dropped: {told}: every test would seem to fail, because pytest does not start without the change: "
            f"{pytest_error(broken.log)}"
        )
        return None
    turned = compare(broken, fixed)
    if not turned.fail_to_pass:
        maker.progress(f"dropped: {told}: it makes no test pass (of {len(fixed.passing)})")
        return None
    failures = collect_failures(turned.fail_to_pass, broken.failing, new_files)
    row = row.model_copy(
        update={
            "fail_to_pass": turned.fail_to_pass,
            "pass_to_pass": turned.pass_to_pass,
            "problem_statement": await maker.writer.write(failures, random.Random(row.instance_id)),
        }
    )
    done = await confirmed(row, archive, execute=maker.execute)
    if done is None:
        maker.progress(f"dropped: {told}: the gold patch does not resolve it, or is no UTF-8")
        return None
    return done


def _is_documentation(path: str) -> bool:
    """Whether a file cannot change what a test sees: text for people, and metadata that a build writes."""
    name = path.split("/")[-1]
    return (
        name.endswith(DOCUMENTATION)
        or name.split(".")[0] in METADATA
        or ".egg-info/" in path
        or path.split("/")[0] in ("docs", "doc", ".github")
    )
