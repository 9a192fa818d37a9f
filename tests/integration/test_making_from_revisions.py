"""Tasks of a repository's history where pytest cannot run everything: what fails is measured, or the reason told."""

import asyncio
import re
from dataclasses import replace

import pytest
from long_tests import takes_minutes

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from own_code import commit_all, maker_into
from scaffold_in_sandbox import needs_sandbox

from turnmix.core.errors import UserError
from turnmix.task_making.from_repository import make_from_repository
from turnmix.task_making.from_revisions import make_from_revisions

pytestmark = needs_sandbox
OLD = "def old(x):\n    return x + 1\n"
NEW = OLD + "\n\ndef new(x):\n    return x * 2\n"
OLD_TESTS = "from shelf import old\n\n\ndef test_a():\n    assert old(1) == 2\n"
OLD_TESTS += "\n\ndef test_b():\n    assert old(2) == 3\n"
NEW_TESTS = "from shelf import new\n\n\ndef test_c():\n    assert new(2) == 4\n"


def revisions(folder, before, after):
    """A repository with two commits, of the files `before` and then also `after`."""
    commits = []
    for files in (before, after):
        for name, text in files.items():
            path = folder / "shelf" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        commits.append(commit_all(folder / "shelf", "a commit"))
    return commits


BEFORE = {"shelf.py": OLD, "tests/test_old.py": OLD_TESTS}
AFTER = {"shelf.py": NEW, "tests/test_new.py": NEW_TESTS}


def made(folder, before, after, **settings):
    """The rows that are made, and what was said on the way."""
    old, new = revisions(folder, before, after)
    said = []
    maker = replace(maker_into(folder / "tasks.jsonl", **settings), progress=said.append)
    return asyncio.run(make_from_revisions(folder / "shelf", old, new, maker)), said


def dropped(folder, before, after, **settings):
    """Why no row is made."""
    old, new = revisions(folder, before, after)
    said = []
    maker = replace(maker_into(folder / "tasks.jsonl", **settings), progress=said.append)
    with pytest.raises(UserError, match="no commit from"):
        asyncio.run(make_from_revisions(folder / "shelf", old, new, maker))
    return " ".join(said)


def test_a_new_module_of_tests_that_the_old_code_cannot_import_fails_alone(tmp_path):
    before = {**BEFORE, "pytest.ini": "[pytest]\naddopts = -x\n"}
    (row,), said = made(tmp_path, before, AFTER)
    assert row.fail_to_pass == ("tests/test_new.py::test_c",)
    assert row.pass_to_pass == ("tests/test_old.py::test_a", "tests/test_old.py::test_b")
    assert "cannot import name 'new' from 'shelf'" in row.problem_statement
    assert "tests/" not in row.problem_statement
    assert said[0].startswith("commit 1 of 1: ")


@takes_minutes
def test_a_conftest_that_the_old_code_cannot_load_makes_no_test_of_all(tmp_path):
    told = dropped(tmp_path, BEFORE, {**AFTER, "tests/conftest.py": "import shelf\nshelf.new\n"})
    assert "pytest does not start without the change: tests/conftest.py cannot be loaded: " in told
    assert "has no attribute 'new'" in told


def test_a_conftest_for_an_older_pytest_is_named(tmp_path):
    hook = "def pytest_namespace():\n    return {}\n"
    told = dropped(tmp_path, {**BEFORE, "tests/conftest.py": hook}, AFTER)
    assert "tests/conftest.py was written for another version of pytest: " in told
    assert "unknown hook 'pytest_namespace'" in told


def test_where_pytest_cannot_start_its_own_error_is_shown(tmp_path):
    told = dropped(tmp_path, {**BEFORE, "pytest.ini": "[pytest]\naddopts = --no-such-word\n"}, AFTER)
    assert "pytest ran no test: " in told
    assert "unrecognized arguments: --no-such-word" in told


def test_tests_that_do_not_end_in_time_are_told_with_how_far_they_came(tmp_path):
    revisions(
        tmp_path, BEFORE, {"tests/test_slow.py": "import time\n\n\ndef test_z():\n    time.sleep(999)\n"}
    )

    def told(seconds):
        maker = maker_into(tmp_path / "tasks.jsonl", timeout_seconds=seconds)
        with pytest.raises(UserError) as raised:
            asyncio.run(make_from_repository(tmp_path / "shelf", maker))
        assert f"its tests do not come to an end within {seconds} s (--timeout): " in str(raised.value)
        return str(raised.value)

    # How long a busy machine takes to come to the test that never ends, nobody knows.
    said = (told(seconds) for seconds in (8, 40, 200))
    assert any(re.search(r"\): 2 had ended, the last of them .*::test_b: ", each) for each in said)
