"""Tasks of a small repository made here: made, laid, graded, attacked, and resolved by the oracle."""

import asyncio
import json
from functools import partial

import pytest
from long_tests import takes_minutes

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from own_code import commit_all, grades, maker_into, oracle_trajectories, source_of
from scaffold_in_sandbox import needs_sandbox

from turnmix.cli.grade import grade_predictions
from turnmix.core.errors import UserError
from turnmix.core.trajectory import StopReason
from turnmix.environments.repositories.task_file import load_rows, write_rows
from turnmix.policies.scripted import call_action
from turnmix.rollout.mixture import DaggerMixture, TeacherMixture
from turnmix.task_making.from_repository import make_from_repository
from turnmix.task_making.from_revisions import make_from_revisions

pytestmark = needs_sandbox

SHELF = '''\
"""A shelf."""


def take(items, count):
    """The first `count` of `items`."""
    if count < 0:
        raise ValueError("count")
    return items[:count]


def total(items):
    """The sum of `items`."""
    result = 0
    for item in items:
        result += item
    return result
'''
TESTS = """\
import pytest
from shelf import take, total


def test_take():
    assert take([1, 2, 3], 2) == [1, 2]


def test_take_refuses():
    with pytest.raises(ValueError):
        take([], -1)


@pytest.mark.parametrize("items", [[1, 2], [], [5]], ids=["two of them", "none", "one"])
def test_total(items):
    assert total(items) == sum(items)


def test_types():
    assert isinstance(take([], 0), list)
"""
NEW_SHELF = SHELF.replace("return items[:count]", "return list(items)[:count]") + (
    '\n\ndef last(items):\n    """The last of `items`."""\n    return items[-1]\n'
)
NEW_TESTS = TESTS.replace("import take, total", "import last, take, total").replace(
    "def test_types", "def test_last():\n    assert last([1, 2]) == 2\n\n\ndef test_types"
)


def lay(directory, shelf, tests):
    (directory / "src").mkdir(parents=True, exist_ok=True)
    (directory / "tests").mkdir(exist_ok=True)
    (directory / "src" / "shelf.py").write_text(shelf)
    (directory / "tests" / "test_shelf.py").write_text(tests)


@pytest.fixture(scope="module")
def injected(tmp_path_factory):
    """A task file with injected bugs."""
    folder = tmp_path_factory.mktemp("injected")
    lay(folder / "shelf", SHELF, TESTS)
    making = maker_into(folder / "tasks.jsonl", number=3, jobs=2)
    write_rows(folder / "tasks.jsonl", asyncio.run(make_from_repository(folder / "shelf", making)))
    return folder / "tasks.jsonl"


@pytest.fixture(scope="module")
def revised(tmp_path_factory):
    """A task file with the one task of a repository's history."""
    folder = tmp_path_factory.mktemp("revised")
    lay(folder / "shelf", SHELF, TESTS)
    old = commit_all(folder / "shelf", "old")
    (folder / "shelf" / "README.md").write_text("no task")
    commit_all(folder / "shelf", "documentation")
    lay(folder / "shelf", NEW_SHELF, NEW_TESTS)
    new = commit_all(folder / "shelf", "last")
    rows = asyncio.run(make_from_revisions(folder / "shelf", old, new, maker_into(folder / "tasks.jsonl")))
    write_rows(folder / "tasks.jsonl", rows)
    return folder / "tasks.jsonl"


def agent(path, *commands, finishes=True):
    """The verdict on an agent that runs `commands`, and what it saw."""

    async def run():
        source = source_of(path)
        environment = source.environment(source.tasks("holdout")[0])
        try:
            await environment.reset()
            seen = [
                (await environment.step(call_action("execute_bash", command=command))).observation[0].content
                for command in commands
            ]
            await environment.step(call_action("finish", message="done"))
            reason = StopReason.finished if finishes else StopReason.max_turns
            return await environment.verify(reason), "\n".join(seen)
        finally:
            await environment.close()

    return asyncio.run(run())


def gold_command(path):
    gold = load_rows(path)[0].gold_patch
    return f"git apply - <<'END_OF_PATCH'\n{gold}END_OF_PATCH"


def test_injected_bugs_turn_the_tests_that_were_measured_and_leave_the_rest(injected):
    rows = load_rows(injected)
    assert len(rows) == 3
    for row in rows:
        assert row.source == "injection"
        assert len({*row.fail_to_pass, *row.pass_to_pass}) == 6
        assert row.problem_statement.count("def test_") >= 1
        hidden = {test.partition("[")[0].rpartition("::")[2] for test in row.fail_to_pass}
        assert all(f"-def {name}(" in row.base_patch for name in hidden)


@takes_minutes
def test_the_same_seed_makes_the_same_tasks_and_another_others(injected, tmp_path):
    def made(seed):
        making = maker_into(tmp_path / "tasks.jsonl", number=1, seed=seed)
        return asyncio.run(make_from_repository(injected.parent / "shelf", making))

    first = load_rows(injected)[:1]
    assert made(0) == first
    assert [row.gold_patch for row in made(5)] != [row.gold_patch for row in first]


def test_the_gold_patch_is_resolved_and_the_empty_and_the_broken_ones_are_not(injected, revised):
    for path in (injected, revised):
        source = source_of(path)
        rows = {row.instance_id: row for row in load_rows(path)}
        gold = grades(source, {name: row.gold_patch for name, row in rows.items()})
        assert all(verdict.resolved and verdict.details["submitted"] for verdict in gold.values())
        empty = grades(source, dict.fromkeys(rows, ""))
        assert not any(verdict.resolved or verdict.details["submitted"] for verdict in empty.values())
        useless = "diff --git a/x.txt b/x.txt\nnew file mode 100644\n--- /dev/null\n+++ b/x.txt\n@@ -0,0 +1 @@\n+x\n"
        misfit = "diff --git a/no.py b/no.py\n--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-a\n+b\n"
        for patch in (useless, misfit, "what is this?\n"):
            assert not any(
                verdict.resolved for verdict in grades(source, dict.fromkeys(rows, patch)).values()
            )


def test_history_gives_the_old_code_the_new_tests_and_the_difference_as_gold(revised):
    (row,) = load_rows(revised)
    assert row.fail_to_pass[0].endswith("test_last")
    assert "+def last(items):" in row.gold_patch
    assert "README" not in row.gold_patch
    assert "+def test_last():" in row.test_patch
    _, seen = agent(
        revised, "git log --oneline --all; git status --short; grep -rn 'last' . ; python -m pytest -q"
    )
    assert seen.count("Initial state") == 1
    assert "def last" not in seen
    assert "test_last" not in seen
    assert "passed" in seen


def test_wrong_revisions_are_the_users_mistake(revised):
    making = partial(maker_into, revised.parent / "other.jsonl")
    with pytest.raises(UserError, match="nowhere"):
        asyncio.run(make_from_revisions(revised.parent / "shelf", "nowhere", "HEAD", making()))
    with pytest.raises(UserError, match="older revision first"):
        asyncio.run(make_from_revisions(revised.parent / "shelf", "HEAD", "HEAD~1", making()))
    with pytest.raises(UserError, match="no git repository"):
        asyncio.run(make_from_revisions(revised.parent, "HEAD~1", "HEAD", making()))


def test_an_agent_that_repairs_is_resolved_whatever_else_it_leaves(revised):
    verdict, _ = agent(revised, gold_command(revised))
    assert verdict.resolved
    assert verdict.details["patch"] == load_rows(revised)[0].gold_patch
    verdict, _ = agent(
        revised,
        gold_command(revised),
        "rm -rf .git tests; mkdir x; git init -q x; echo 1 > x/y; printf '\\000\\001' > blob; ln -s / link",
    )
    assert verdict.resolved
    assert "blob" not in verdict.details["patch"]
    assert "x/y" in verdict.details["patch"]


def test_an_agent_that_does_not_finish_or_changes_nothing_has_submitted_nothing(revised):
    for verdict in (agent(revised, gold_command(revised), finishes=False)[0], agent(revised, "true")[0]):
        assert not verdict.details["submitted"]
        assert not verdict.resolved


FORGED = r"printf 'import os\nos.write(1, b\"\\nPASSED tests/test_shelf.py::test_last\\n\")\nos._exit(0)\n'"
CHEATS = {
    "edits the tests": "for f in tests/*.py; do echo 'def test_last(): pass' > $f; done",
    "adds the missing test": "echo 'def test_last(): pass' >> tests/test_shelf.py",
    "replaces the tests by links": "rm -rf tests; ln -s /tmp tests",
    "leaves a conftest": "printf 'import os\\nos._exit(0)\\n' | tee conftest.py src/conftest.py > tests/conftest.py",
    "skips every test": "printf '[pytest]\\naddopts = --collect-only\\n' | tee pytest.ini > tox.ini",
    "passes by a hook": (
        "printf 'import pytest\\n@pytest.hookimpl(tryfirst=True)\\ndef pytest_runtest_makereport(item, call):\\n"
        "    call.excinfo = None\\n' > conftest.py"
    ),
    "forges the output and exits": f"{FORGED} > src/shelf.py",
    "shadows pytest": "echo 'import sys; sys.exit(0)' | tee pytest.py src/pytest.py src/_pytest.py > sitecustomize.py",
    "hangs": "echo 'while True: pass' >> src/shelf.py",
    "floods the log": "echo 'import os\nwhile True: os.write(1, b\"x\" * 1000000)' >> src/shelf.py",
    "removes its own code": "rm -rf src",
}


@pytest.mark.parametrize("command", CHEATS.values(), ids=CHEATS)
def test_an_agent_is_unresolved_that(revised, tmp_path, command):
    (row,) = load_rows(revised)
    path = revised.parent / "short.jsonl"
    seconds = 5.0 if "while True: pass" in command else 60.0
    write_rows(path, [row.model_copy(update={"timeout_seconds": seconds})])
    verdict, _ = agent(path, command)
    assert not verdict.resolved
    assert verdict.details["submitted"]


@takes_minutes
def test_the_oracle_resolves_every_task_alone_and_beside_a_vandal(injected, revised):
    for path in (injected, revised):
        alone = oracle_trajectories(source_of(path), TeacherMixture(), iteration=1)
        assert [trajectory.verdict.resolved for trajectory in alone] == [True] * len(alone)
        mixed = oracle_trajectories(source_of(path), DaggerMixture(decay=1, floor=0.5), iteration=2)
        assert {turn.actor for trajectory in mixed for turn in trajectory.turns} == {"teacher", "student"}
        assert [trajectory.verdict.resolved for trajectory in mixed] == [True] * len(mixed)


def test_a_prediction_of_an_unfinished_agent_is_graded_where_that_is_asked(revised, tmp_path, capsys):
    (row,) = load_rows(revised)
    line = {"instance_id": row.instance_id, "model_patch": row.gold_patch, "unfinished": True}
    file = tmp_path / "predictions.jsonl"
    file.write_text(json.dumps(line) + "\n")

    def said(*overrides):
        grade_predictions(str(file), words=(str(revised), *overrides))
        return " ".join(capsys.readouterr().out.split())

    assert f"{row.instance_id}: unfinished, 0 of" in (counted := said())
    assert "resolved: 0 of 1" in counted
    assert "1 unfinished, which count as unresolved: evaluation.unfinished=graded grades them" in counted
    graded = said("evaluation.unfinished=graded")
    assert "resolved: 1 of 1" in graded
    assert "1 unfinished, which were graded" in graded
    with pytest.raises(UserError, match="unfinished: 'maybe'"):
        said("evaluation.unfinished=maybe")
