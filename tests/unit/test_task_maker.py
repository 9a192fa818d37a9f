"""What becomes of a candidate whose sandbox fails."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from turnmix.core.errors import SandboxError
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
        await asyncio.sleep(0.2)
        return ROW

    asyncio.run(maker.attempt("candidate", make))
    assert said[0] == "… candidate: 0 s; 0 of 100 tasks made"
    assert said[-1].startswith(f"made {ROW.instance_id} (1 of 100): candidate")
