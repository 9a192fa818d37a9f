"""Tasks in images, in real containers: what the agent can see, what it may leave, and the verdict on it."""

import asyncio
from functools import partial

import pytest

pytest.importorskip("swebench", reason="grading in images needs swebench: pip install 'turnmix[swe]'")

from container_runtime import expect_none_left_behind, needs_containers, settings
from shelf_image import SECRET, shelf_row

from published_rows import FAILING, GOLD, smith_row
from turnmix.core.errors import SandboxError
from turnmix.core.trajectory import StopReason
from turnmix.environments.repositories.adapters.reversal import reversed_patch
from turnmix.environments.repositories.adapters.swe_smith import from_swe_smith
from turnmix.environments.repositories.image.execution import execute_in_image
from turnmix.environments.repositories.image.preparation import prepare_image, take_image_patch
from turnmix.environments.repositories.logs.test_log import swebench_report
from turnmix.environments.repositories.patch_text import encoded
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.source import TaskFileSettings, TaskFileSource
from turnmix.environments.repositories.task_file import TaskRow, write_rows
from turnmix.policies.scripted import call_action
from turnmix.sandboxes.selection import ContainerSandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

pytestmark = needs_containers


def source_of(folder, *rows):
    write_rows(folder / "tasks.jsonl", rows)
    chosen = ContainerSandboxSettings(container=settings().model_copy(update={"cpus": 2.0}))
    return TaskFileSource(
        TaskFileSettings(path=folder / "tasks.jsonl", holdout="all"),
        make_sandbox=partial(make_row_sandbox, chosen.make),
        scaffold=ScaffoldSettings(no_output_seconds=100.0),
    )


def agent(folder, *commands, row=None, reason=StopReason.finished):
    """The verdict on an agent that runs `commands`, and what it saw of each."""
    source = source_of(folder, row or shelf_row())

    async def run():
        environment = source.environment(source.tasks("holdout")[0])
        try:
            await environment.reset()
            seen = []
            for command in commands:
                step = await environment.step(call_action("execute_bash", command=command))
                seen.append(step.observation[0].content)
            return await environment.verify(reason), seen
        finally:
            await environment.close()

    return asyncio.run(run())


WRONG = "diff --git a/shelf.py b/shelf.py\n--- a/shelf.py\n+++ b/shelf.py\n@@ -1,2 +1,2 @@\n def take(items, count):\n"
WRONG += "-    return items[:count - 1]\n+    return items[:count + 1]\n"
EDITS_TESTS = """\
diff --git a/tests/test_shelf.py b/tests/test_shelf.py
--- a/tests/test_shelf.py
+++ b/tests/test_shelf.py
@@ -3,4 +3,7 @@ from shelf import take
 
 
 def test_none():
-    assert take([], 0) == []
+    pass
+
+def test_take():
+    pass
"""
MISFIT = "diff --git a/no.py b/no.py\n--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-a\n+b\n"
HANGS = WRONG.replace("+    return items[:count + 1]\n", "+    while True: pass\n")
FUZZY = """\
diff --git a/shelf.py b/shelf.py
--- a/shelf.py
+++ b/shelf.py
@@ -1,3 +1,3 @@
 def take(items, count):
-    return items[:count - 1]
+    return items[:count]
 # a line that is not there
"""
CONFTEST = """\
diff --git a/conftest.py b/conftest.py
new file mode 100644
--- /dev/null
+++ b/conftest.py
@@ -0,0 +1,4 @@
+import pytest
+@pytest.hookimpl(tryfirst=True)
+def pytest_runtest_makereport(item, call):
+    call.excinfo = None
"""


def adding(path, line):
    return f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{line}\n"


def test_patches_are_graded_as_what_they_are(tmp_path):
    row, impatient = shelf_row(), shelf_row("Project-MONAI__MONAI-1011", timeout_seconds=25.0)
    source = source_of(tmp_path, row, impatient)
    patches = {
        "gold": row.gold_patch,
        "empty": "",
        "wrong": WRONG,
        "edits the tests": EDITS_TESTS,
        "does not apply": MISFIT,
        "is no patch": "what is this?\n",
        "hangs": HANGS,
        "applies with fuzz": FUZZY,
        "brings a conftest that passes all": CONFTEST,
        "gold and an edit of the tests": row.gold_patch + EDITS_TESTS,
        "gold and a file that lies in the image": row.gold_patch + adding("setup.log", "installed here"),
        "gold and another in its place": row.gold_patch + adding("setup.log", "other"),
        "gold and an ignored one": row.gold_patch + adding("build/out", "built"),
        "gold and one that git tracks": row.gold_patch + adding("tests/test_shelf.py", "x = 1"),
    }

    def grading(name):
        return source.grader.grade(impatient if name == "hangs" else row, patches[name].encode())

    async def grade():
        return await asyncio.gather(*map(grading, patches))

    verdicts = dict(zip(patches, asyncio.run(grade())))
    resolved = {name for name, verdict in verdicts.items() if verdict.resolved}
    assert resolved == {
        "gold",
        "gold and an edit of the tests",
        "applies with fuzz",
        "gold and a file that lies in the image",
        "gold and another in its place",
        "gold and an ignored one",
    }
    assert {name for name, verdict in verdicts.items() if not verdict.details["submitted"]} == {"empty"}
    counts = {
        name: (verdict.details["passed"], verdict.details["failed"]) for name, verdict in verdicts.items()
    }
    assert counts["gold"] == (2, 0)
    assert counts["wrong"] == (1, 1)
    assert counts["hangs"] == counts["does not apply"] == (0, 2)
    expect_none_left_behind()


ENDS_ITS_GRADER = (
    WRONG.replace("-1,2 +1,2 @@\n", "-1,2 +1,8 @@\n+import os\n")
    + """\
+for process in os.listdir("/proc"):
+    try:
+        open(f"/proc/{process}/fd/0", "w").write("exit 77\\n")
+    except OSError:
+        pass
"""
)


def test_code_under_test_that_ends_its_grader_is_unresolved(tmp_path):
    row = shelf_row()
    verdict = asyncio.run(source_of(tmp_path, row).grader.grade(row, ENDS_ITS_GRADER.encode()))
    assert (verdict.resolved, verdict.details["submitted"], verdict.details["failed"]) == (False, True, 2)


def test_a_grader_that_ends_before_the_patch_is_an_infrastructure_error(tmp_path):
    row = shelf_row(setup_script="for p in /proc/[0-9]*; do echo 'exit 77' > $p/fd/0; done 2>/dev/null; true")
    with pytest.raises(SandboxError):
        asyncio.run(source_of(tmp_path, row).grader.grade(row, row.gold_patch.encode()))


def test_a_patch_is_judged_once(tmp_path):
    row = shelf_row()
    source = source_of(tmp_path, row)
    first = asyncio.run(source.grader.grade(row, WRONG.encode()))
    source._repositories.clear()
    source._make_sandbox = None  # a second container would fail
    assert asyncio.run(source.grader.grade(row, WRONG.encode())) is first


def test_tests_that_are_all_skipped_are_unresolved(tmp_path):
    row = shelf_row()
    script = row.evaluation_script.replace("pytest -rA", "pytest -rA -p skip_all")
    skip = "import pytest\\ndef pytest_collection_modifyitems(items):\\n"
    skip += " [i.add_marker(pytest.mark.skip) for i in items]\\n"
    script = script.replace(": '>>>>> Start", f"printf '{skip}' > skip_all.py\n: '>>>>> Start", 1)
    skipped = shelf_row(evaluation_script=script)
    verdict = asyncio.run(source_of(tmp_path, skipped).grader.grade(skipped, row.gold_patch.encode()))
    assert not verdict.resolved


def test_the_log_means_to_us_what_it_means_to_swebench(tmp_path):
    row = shelf_row()
    make = partial(make_row_sandbox, ContainerSandboxSettings(container=settings()).make)
    for patch, resolved in ((row.gold_patch, True), (WRONG, False)):
        execution = asyncio.run(execute_in_image(row, patch.encode(), make(row)))
        assert ">>>>> Test Exit Code: " in execution.log
        report = swebench_report(row, patch.encode(), execution.log.encode())
        assert report["patch_successfully_applied"]
        assert execution.counts.resolved is report["resolved"] is resolved


def test_the_agent_sees_no_later_history_and_no_tests(tmp_path):
    verdict, seen = agent(
        tmp_path,
        "git log --all --oneline; git tag; git branch -a; git remote; git reflog; git stash list",
        "git fsck --unreachable --no-reflogs 2>&1; git cat-file --batch-all-objects --batch-check | wc -l",
        "for o in $(git cat-file --batch-all-objects --batch-check | cut -d' ' -f1); do git cat-file -p $o; done "
        f"| grep -c '{SECRET}'",
        "grep -rn 'items\\[:count\\]' /testbed; grep -rn test_take /testbed /tmp /opt /root",
        "git status --short; echo clean; git log --oneline | wc -l",
        "python -c 'import shelf, os; print(os.environ[\"CONDA_DEFAULT_ENV\"], shelf.__file__)'",
    )
    log, objects, secrets, traces, state, environment = seen
    assert "Before" in log
    assert "Base" in log
    assert SECRET not in log
    assert "v2" not in log
    assert "origin" not in log
    assert "unreachable" not in objects
    assert secrets.startswith("0\n")
    assert "shelf.py:" not in traces
    assert "test_take" not in traces
    assert state.startswith("clean\n3\n")
    assert environment.startswith("testbed /testbed/shelf.py")
    assert not verdict.details["submitted"]


REPAIR = "sed -i 's/count - 1/count/' shelf.py"


def test_an_agent_that_repairs_is_resolved_whatever_else_it_leaves(tmp_path):
    verdict, _ = agent(tmp_path, REPAIR)
    assert verdict.resolved
    assert "setup.log" not in verdict.details["patch"]
    verdict, _ = agent(
        tmp_path,
        REPAIR,
        "mkdir x && git init -q x && echo 1 > x/y && printf '\\000\\001' > blob && git add -A && git commit -qm mine",
        "git config diff.noprefix true; git config core.autocrlf true; rm tests/test_shelf.py; touch .git/index.lock",
    )
    assert verdict.resolved
    assert "x/y" in verdict.details["patch"]
    assert "blob" not in verdict.details["patch"]


def test_an_agent_without_a_repository_or_an_end_has_submitted_nothing(tmp_path):
    assert not agent(tmp_path, REPAIR, "rm -rf .git")[0].details["submitted"]
    verdict, _ = agent(tmp_path, REPAIR, reason=StopReason.max_turns)
    assert (verdict.details["submitted"], verdict.resolved) == (False, False)
    expect_none_left_behind()


def test_an_image_of_another_task_is_an_infrastructure_error(tmp_path):
    row = shelf_row(base_commit="0" * 40)
    with pytest.raises(SandboxError, match="HEAD does not come of"):
        agent(tmp_path, "true", row=row)


def test_a_bug_that_the_image_has_no_branch_for_is_laid_without_its_history(tmp_path):
    # The image's state is taken for the healthy one: the bug makes it worse, and its test must find that.
    bug = GOLD.replace("items[:count]\n", "items[:0]\n") + (
        "diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
    )
    kept = FAILING.replace("test_take", "test_none")
    made = from_swe_smith(smith_row(patch=bug, FAIL_TO_PASS=[kept], PASS_TO_PASS=[]))
    row = TaskRow.model_validate({**made.model_dump(), "image": shelf_row().image})
    assert row.gold_patch == reversed_patch(bug)
    verdict, (log, tests) = agent(tmp_path, "git log --oneline --all", "ls tests; cat shelf.py", row=row)
    assert log.count("\n") == 2  # one commit, and the scaffold's two lines
    assert "Initial state" in log
    assert "test_shelf.py" not in tests
    assert "items[:0]" in tests
    assert not verdict.details["submitted"]
    verdict = asyncio.run(source_of(tmp_path, row).grader.grade(row, row.gold_patch.encode()))
    assert (verdict.details["passed"], verdict.resolved) == (1, True)


def test_an_agent_that_makes_its_patch_hang_has_left_none():
    row = shelf_row()
    sandbox = make_row_sandbox(ContainerSandboxSettings(container=settings()).make, row)

    async def take():
        try:
            await sandbox.start()
            base = await prepare_image(row, sandbox)
            await sandbox.run("git config filter.slow.clean 'sleep 30'; echo '* filter=slow' > .gitattributes; "
                              f"{REPAIR}", working_directory=row.working_directory)  # fmt: skip
            return await take_image_patch(row, base, sandbox, timeout=1.0)
        finally:
            await sandbox.stop()

    assert asyncio.run(take()) is None


LATIN = (
    b"diff --git a/shelf.py b/shelf.py\n--- a/shelf.py\n+++ b/shelf.py\n@@ -1,2 +1,3 @@\n+# coding: latin-1, caf\xe9\n"
    b" def take(items, count):\n-    return items[:count - 1]\n+    return items[:count]\n"
)


def test_a_fix_in_latin_1_is_resolved_and_so_is_the_patch_of_its_verdict(tmp_path):
    row = shelf_row()
    source = source_of(tmp_path, row)
    first = asyncio.run(source.grader.grade(row, LATIN))
    again = asyncio.run(source_of(tmp_path, row).grader.grade(row, encoded(first.details["patch"])))
    assert encoded(first.details["patch"]) == LATIN
    assert first.resolved
    assert again.resolved
