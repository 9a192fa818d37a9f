"""Making tasks when sandboxes fail, or a person stops it: what was made is not lost."""

import asyncio
import signal
import time
from dataclasses import replace
from itertools import count

import pytest
from long_tests import takes_minutes

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from lean_python import lean_python
from own_code import commit_all, maker_into
from scaffold_in_sandbox import needs_sandbox
from test_task_file_source import NEW_SHELF, NEW_TESTS, SHELF, TESTS, lay

from turnmix.core.errors import SandboxError
from turnmix.environments.repositories.task_file import load_rows
from turnmix.task_making.from_repository import make_from_repository
from turnmix.task_making.from_revisions import make_from_revisions
from warm_python import start_turnmix

pytestmark = needs_sandbox


def failing_at(making, *numbers):
    """The making with sandboxes of which those `numbers` do not start."""
    counted = count()

    async def execute(*given):
        if next(counted) in numbers:
            raise SandboxError("no room")
        return await making.execute(*given)

    return replace(making, execute=execute)


@takes_minutes
def test_the_same_tasks_are_made_where_a_sandbox_fails_now_and_then(tmp_path):
    lay(tmp_path / "shelf", SHELF, TESTS)
    making = maker_into(tmp_path / "tasks.jsonl", number=2)
    expected = asyncio.run(make_from_repository(tmp_path / "shelf", making))
    shaken = failing_at(maker_into(tmp_path / "tasks.jsonl", number=2), 3)
    assert asyncio.run(make_from_repository(tmp_path / "shelf", shaken)) == expected
    assert making.made == shaken.made == expected


@takes_minutes
def test_a_commit_whose_sandboxes_fail_is_no_commit_without_tests(tmp_path):
    lay(tmp_path / "shelf", SHELF, TESTS)
    old = commit_all(tmp_path / "shelf", "old")
    lay(tmp_path / "shelf", NEW_SHELF, NEW_TESTS)
    new = commit_all(tmp_path / "shelf", "new")
    once = failing_at(maker_into(tmp_path / "tasks.jsonl"), 1)
    assert len(asyncio.run(make_from_revisions(tmp_path / "shelf", old, new, once))) == 1
    always = failing_at(maker_into(tmp_path / "tasks.jsonl"), *range(99))
    with pytest.raises(SandboxError, match="no room"):
        asyncio.run(make_from_revisions(tmp_path / "shelf", old, new, always))


@takes_minutes
def test_what_was_made_when_a_person_stops_it_is_written_and_replaces_nothing(tmp_path):
    lay(tmp_path / "shelf", SHELF, TESTS)
    words = [
        "tasks",
        "make",
        "--from-repository",
        "shelf",
        "--number",
        "50",
        "--output",
        "tasks.jsonl",
        "--python",
    ]

    def stopped_after(number):
        with (tmp_path / "said").open("wb") as said:
            process = start_turnmix(*words, lean_python(), cwd=tmp_path, stdout=said, stderr=said)
        until = time.monotonic() + 1500
        while (tmp_path / "said").read_text().count("\nmade ") < number:
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=1500) == 1
        return (tmp_path / "said").read_text()

    assert "tasks made so far are in tasks.jsonl" in stopped_after(2)
    first = load_rows(tmp_path / "tasks.jsonl")
    assert len(first) >= 2
    assert {row.timeout_seconds for row in first} == {300.0}
    assert "so far are in tasks.unfinished.jsonl" in stopped_after(1)
    assert load_rows(tmp_path / "tasks.jsonl") == first
    assert load_rows(tmp_path / "tasks.unfinished.jsonl")
