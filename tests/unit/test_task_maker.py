"""Which candidates are tried, and what becomes of one whose sandbox fails."""

import asyncio
import re
from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from turnmix.core.errors import SandboxError, UserError
from turnmix.environments.repositories.archive.execution import Execution
from turnmix.task_making.from_repository import make_from_repository
from turnmix.task_making.issue import TemplateIssueWriter
from turnmix.task_making.settings import MakeSettings
from turnmix.task_making.task_maker import ATTEMPTS, MOST_FAILURES, TaskMaker, draft_row

SETTINGS = MakeSettings(output=Path("tasks.jsonl"))
ROW = draft_row(SETTINGS, path=Path("shelf"), archive=f"archives/{'0' * 64}.tar.gz", tree=[])


@pytest.fixture
def said():
    return []


@pytest.fixture
def attempt(said):
    """Attempts at candidates, each with what its tries come to, one after the other."""
    maker = TaskMaker(settings=SETTINGS, execute=None, writer=TemplateIssueWriter(), progress=said.append)

    def attempt(*outcomes):
        ahead = iter(outcomes)

        async def make():
            outcome = next(ahead)
            if outcome == "fails":
                raise SandboxError("no room")
            return outcome

        return asyncio.run(maker.attempt("candidate", make))

    attempt.maker = maker
    return attempt


def test_a_candidate_whose_sandbox_fails_once_is_tried_again(attempt, said):
    assert attempt("fails", ROW) is ROW
    assert attempt.maker.made == [ROW]
    assert [line.split(":")[0] for line in said] == [f"made {ROW.instance_id} (1 of 100)"]


def test_one_whose_sandbox_fails_again_is_dropped_and_said(attempt, said):
    assert attempt(*["fails"] * ATTEMPTS) is None
    assert said == ["dropped: candidate: its sandbox failed 2 times: no room"]
    assert attempt(ROW) is ROW
    assert attempt.maker.made == [ROW]


def test_sandboxes_that_fail_at_one_candidate_after_the_other_end_the_making(attempt):
    for outcome in (None, ROW):
        for _ in range(MOST_FAILURES - 1):
            attempt(*["fails"] * ATTEMPTS)
        attempt(outcome)
    for _ in range(MOST_FAILURES - 1):
        attempt(*["fails"] * ATTEMPTS)
    with pytest.raises(SandboxError, match="no room"):
        attempt(*["fails"] * ATTEMPTS)
    assert attempt.maker.made == [ROW]


def test_a_long_step_is_said_to_go_on_and_how_much_is_made(said):
    maker = TaskMaker(
        settings=SETTINGS,
        execute=None,
        writer=TemplateIssueWriter(),
        progress=said.append,
        heartbeat_seconds=0.01,
    )

    async def make():
        while not said:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)
        return ROW

    asyncio.run(maker.attempt("candidate", make))
    assert re.fullmatch(r"… candidate: \d+ s; 0 of 100 tasks made", said[0])
    assert said[-1].startswith(f"made {ROW.instance_id} (1 of 100): candidate")


CODE = """\
def take(items, count, start=0):
    if count < 0 or start < 0:
        raise ValueError("count")
    end = start + count
    return items[start:end]


def total(items):
    result = 0
    for item in items:
        result = result + item
    return max(result, 0)
"""


def tried(folder, jobs):
    """The bugs of which all tests are run, in this order; no test catches any."""
    patches = []

    async def execute(row, archive, patch):
        patches.append(row.base_patch)
        return Execution(outcomes={"test_shelf.py::test_take": "passed"})

    maker = TaskMaker(
        settings=MakeSettings(output=folder / "tasks.jsonl", number=1, jobs=jobs),
        execute=execute,
        writer=TemplateIssueWriter(),
        progress=lambda line: None,
    )
    with pytest.raises(UserError, match="catch none of the bugs"):
        asyncio.run(make_from_repository(folder / "shelf", maker))
    return [patch for patch in patches if patch]


def test_the_same_bugs_are_tried_by_however_many_at_a_time(tmp_path):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "shelf.py").write_text(CODE)
    (tmp_path / "shelf" / "test_shelf.py").write_text("def test_take():\n    pass\n")
    one_by_one = tried(tmp_path, 1)
    assert len(one_by_one) > 10
    assert tried(tmp_path, 2) == tried(tmp_path, 7) == one_by_one
