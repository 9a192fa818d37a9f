"""Issue texts of a user's own tasks, written by a model behind an endpoint."""

import asyncio

import pytest

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from failing_endpoint import FailingEndpoint, completion, refusal
from lean_python import lean_python
from long_tests import takes_minutes
from scaffold_in_sandbox import needs_sandbox
from test_task_file_source import SHELF, TESTS, lay

from turnmix.environments.repositories.task_file import load_rows
from warm_python import run_turnmix

pytestmark = needs_sandbox
REPORT = "Too few things come back\n\nI asked for two items and was given one. I expected both of them."


def make_tasks(folder, script, *, code=0):
    """What `turnmix tasks make` says, and the requests that its endpoint, answering by `script`, was sent."""
    lay(folder / "shelf", SHELF, TESTS)

    async def run():
        async with FailingEndpoint(script) as server:
            words = [
                "tasks",
                "make",
                "--from-repository",
                "shelf",
                "--number",
                "2",
                "--output",
                "tasks.jsonl",
            ]
            words += ["--python", lean_python(), "--issues-endpoint", server.url, "--issues-model", "writer"]
            done = await asyncio.to_thread(run_turnmix, *words, cwd=folder, timeout=300)
            said = done.stdout + done.stderr
            assert done.returncode == code, said
            return said, [request.body for request in server.requests]

    return asyncio.run(run())


def test_the_model_writes_each_issue_from_what_fails_and_never_sees_the_fix(tmp_path):
    said, requests = make_tasks(tmp_path, lambda number, request: completion(REPORT))
    rows = load_rows(tmp_path / "tasks.jsonl")
    assert [row.problem_statement.strip() for row in rows] == [REPORT] * 2
    asked = requests[1:]  # the first asks whether it answers at all
    assert len(asked) == 2
    for row, request in zip(rows, asked):
        told = request["messages"][-1]["content"]
        assert "assert" in told
        assert row.gold_patch not in told
        assert not any(line[1:] in told for line in row.gold_patch.splitlines() if line.startswith("+ "))
    assert "by template" not in said


@takes_minutes
def test_an_issue_that_would_not_do_is_written_by_template_and_counted(tmp_path):
    said, _ = make_tasks(tmp_path, lambda number, request: completion("I cannot."))
    rows = load_rows(tmp_path / "tasks.jsonl")
    assert all("```python" in row.problem_statement for row in rows)
    assert "2 issue texts are by template: the model's would not do" in " ".join(said.split())


def test_an_endpoint_that_refuses_is_named_before_any_task_is_made(tmp_path):
    said, requests = make_tasks(tmp_path, lambda number, request: refusal(401, "no such key"), code=2)
    assert len(requests) == 1
    assert "issues.endpoint" in said
    assert "no such key" in said
    assert not (tmp_path / "tasks.jsonl").exists()
