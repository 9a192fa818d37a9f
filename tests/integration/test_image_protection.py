"""What a patch may bring along to an image: nothing of it decides a verdict, and nothing of it costs a fix."""

import asyncio

import pytest

pytest.importorskip("swebench", reason="grading in images needs swebench: pip install 'turnmix[swe]'")

from container_runtime import needs_containers, settings
from shelf_image import base_commit, shelf_image, shelf_row
from test_image_grading import CONFTEST, FUZZY, WRONG

from published_rows import GOLD, gym_row
from turnmix.core.errors import SandboxError
from turnmix.environments.repositories.adapters.swe_bench import from_swe_gym
from turnmix.environments.repositories.image.execution import execute_in_image
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.selection import ContainerSandboxSettings

pytestmark = needs_containers


def sandbox(row):
    """What makes the sandboxes in which a row is graded."""
    return make_row_sandbox(ContainerSandboxSettings(container=settings()).make, row)


def added(path, *lines, mode="100644"):
    """A patch that adds a file, as git writes it."""
    header = f"diff --git a/{path} b/{path}\nnew file mode {mode}\n"
    return header + plainly_added(path, *lines) if lines else header + "index 0000000..e69de29\n"


def plainly_added(path, *lines):
    """The same as `diff` writes it."""
    content = "".join(f"+{line}\n" for line in lines)
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n{content}"


def resolved(patch, row):
    """Whether the patch resolves the row."""
    counts = asyncio.run(execute_in_image(row, patch.encode(), sandbox(row))).counts
    return counts is not None and counts.resolved


NEW_TEST = ("from shelf import take", "def test_take():", "    assert take([1, 2, 3], 2) == [1, 2]")
EMPTY_TEST = ("def test_take():", "    pass")


def row_with_new_tests():
    """A task whose tests are in files that only its test patch brings."""
    published = gym_row(
        base_commit=base_commit(),
        patch=GOLD,
        test_patch=added("tests/new/__init__.py") + added("tests/new/test_take.py", *NEW_TEST),
        FAIL_TO_PASS=["tests/new/test_take.py::test_take"],
        PASS_TO_PASS=[],
    )
    return TaskRow.model_validate({**from_swe_gym(published).model_dump(), "image": shelf_image()})


@pytest.mark.parametrize("path", ["tests/new/test_take.py", "tests/new/__init__.py"])
def test_a_file_that_the_test_patch_adds_is_the_test_patchs_own(path):
    row = row_with_new_tests()
    own = added("tests/new/test_take.py", *EMPTY_TEST)
    if path.endswith("__init__.py"):
        own += added(path)
    assert not resolved(own, row)
    assert resolved(GOLD + own, row)


def test_a_directory_in_the_place_of_a_test_file_is_removed():
    assert resolved(GOLD + added("tests/new/test_take.py/test_take.py", *EMPTY_TEST), row_with_new_tests())


def test_a_test_file_that_the_test_patch_moves_is_moved_as_it_was():
    move = "diff --git a/tests/test_shelf.py b/tests/test_moved.py\nsimilarity index 100%\n"
    move += "rename from tests/test_shelf.py\nrename to tests/test_moved.py\n"
    published = gym_row(
        base_commit=base_commit(),
        patch=GOLD,
        test_patch=move + added("tests/test_take.py", *NEW_TEST),
        FAIL_TO_PASS=["tests/test_take.py::test_take"],
        PASS_TO_PASS=["tests/test_moved.py::test_none"],
    )
    row = TaskRow.model_validate({**from_swe_gym(published).model_dump(), "image": shelf_image()})
    broken = "diff --git a/tests/test_shelf.py b/tests/test_shelf.py\n--- a/tests/test_shelf.py\n"
    broken += "+++ b/tests/test_shelf.py\n@@ -5,2 +5,2 @@\n def test_none():\n"
    broken += "-    assert take([], 0) == []\n+    assert take([], 0) is None\n"
    assert resolved(GOLD + broken, row)


PASSES_ALL = tuple(line[1:] for line in CONFTEST.splitlines() if line.startswith("+") and line[1] != "+")
EVIL = added("evil.py", *PASSES_ALL)
SITE = ("import atexit, os, sys", "if 'pytest' in sys.argv[0]:",
        "    print('PASSED tests/test_shelf.py::test_take\\nPASSED tests/test_shelf.py::test_none', flush=True)",
        "    os._exit(0)")  # fmt: skip
RENAMED = (
    "diff --git a/tests/test_shelf.py b/conftest.py\nsimilarity index 50%\nrename from tests/test_shelf.py\n"
    "rename to conftest.py\n--- a/tests/test_shelf.py\n+++ b/conftest.py\n@@ -1,6 +1,4 @@\n"
    '-"""Tests."""\n-from shelf import take\n-\n-\n-def test_none():\n-    assert take([], 0) == []\n'
    + "".join(f"+{line}\n" for line in PASSES_ALL)
)
STEERING = {
    "a quoted header": CONFTEST.replace("a/conftest.py b/conftest.py", '"a/conftest.py" "b/conftest.py"'),
    "quoted names": CONFTEST.replace("a/conftest.py b/conftest.py", '"a/conftest.py" "b/conftest.py"').replace(
        "+++ b/conftest.py", '+++ "b/\\143onftest.py"'
    ),
    "no header": plainly_added("conftest.py", *PASSES_ALL),
    "no header, after a whole section": WRONG + plainly_added("tests/conftest.py", *PASSES_ALL),
    "another prefix": CONFTEST.replace("a/conftest.py b/", "x/conftest.py y/").replace("+++ b/", "+++ y/"),
    "a renamed file": RENAMED,
    "a link": EVIL + added("conftest.py", "evil.py", mode="120000"),
    "settings in setup.cfg": EVIL + added("setup.cfg", "[tool:pytest]", "addopts = -p evil"),
    "settings in tox.ini": EVIL + added("tox.ini", "[pytest]", "addopts = -p evil"),
    "settings in pyproject.toml": EVIL
    + added("pyproject.toml", "[tool.pytest.ini_options]", "addopts = '-p evil'"),
    "a sitecustomize": added("sitecustomize.py", *SITE),
    "a sitecustomize that is a package": added("sitecustomize/__init__.py", *SITE),
}  # fmt: skip


@pytest.mark.parametrize("patch", STEERING.values(), ids=STEERING)
def test_a_patch_does_not_steer_the_tests_by(patch):
    assert not resolved(patch, shelf_row())


ENTRY_POINTS = EVIL + added("evil-1.dist-info/METADATA", "Metadata-Version: 2.1", "Name: evil", "Version: 1")
FORGES = ("import os", "names = [b'take', b'none']",
          "os.write(1, b''.join(b'PASSED tests/test_shelf.py::test_%s\\n' % name for name in names))",
          "os._exit(0)")  # fmt: skip
NOT_RUN = ("import _pytest.python", "_pytest.python.Function.runtest = lambda self: None")
IN_THE_WAY = {
    "a dist-info": ENTRY_POINTS + added("evil-1.dist-info/entry_points.txt", "[pytest11]", "evil = evil"),
    "an egg-info": EVIL + added("evil.egg-info/PKG-INFO", "Metadata-Version: 2.1", "Name: evil", "Version: 1")
    + added("evil.egg-info/entry_points.txt", "[pytest11]", "evil = evil"),
    "a pytest": added("pytest.py", *FORGES),
    "a package pytest": added("pytest/__init__.py", *FORGES),
    "a link to a package pytest": added("other/__init__.py", *FORGES) + added("pytest", "other", mode="120000").replace(
        "+other\n", "+other\n\\ No newline at end of file\n"),
    "a _pytest": added("_pytest/__init__.py", *FORGES),
    "a pluggy": added("pluggy.py", *FORGES),
    "an iniconfig": added("iniconfig.py", *FORGES),
    "a json": added("json.py", *FORGES),
    "a json that is a package": added("json/__init__.py", *FORGES),
    "a typing": added("typing.py", *FORGES),
    "the tests as a package": added("tests/__init__.py", *NOT_RUN),
}  # fmt: skip


@pytest.mark.parametrize("patch", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_a_patch_does_not_get_before_the_test_runner_by(patch):
    row = shelf_row()
    script = row.evaluation_script.replace("pytest -rA", "python -m pytest -rA")
    assert not resolved(patch, row.model_copy(update={"evaluation_script": script}))


def test_a_fix_is_resolved_beside_modules_that_are_set_aside_and_told():
    row = shelf_row()
    script = row.evaluation_script.replace("pytest -rA", "python -m pytest -rA")
    row = row.model_copy(update={"evaluation_script": script})
    whole = {section for patch in IN_THE_WAY.values() for section in patch.split("diff --git ") if section}
    whole = {section for section in whole if "pytest/" not in section and "json/" not in section}
    patch = GOLD + "".join(f"diff --git {section}" for section in sorted(whole))
    execution = asyncio.run(execute_in_image(row, patch.encode(), sandbox(row)))
    assert execution.counts.resolved
    assert {"pytest.py", "json.py", "evil-1.dist-info", "tests/__init__.py"} <= set(execution.set_aside)
    assert not {"evil.py", "shelf.py"} & set(execution.set_aside)


@pytest.mark.parametrize(
    "command",
    ["make -s; cat Makefile", "python check.py", "sh check.sh", "cd tests && python -c 'import help_it'"],
)
def test_what_runs_the_tests_is_the_images_own(command):
    files = {"Makefile": "all:\n\t@echo of the image\n", "check.py": "print('of the image')\n",
             "check.sh": "echo of the image\n", "tests/help_it.py": "print('of the image')\n"}  # fmt: skip
    before = "".join(f"printf {text!r} > {path}\n" for path, text in files.items())
    row = shelf_row(setup_script=before)
    script = row.evaluation_script.replace("pytest -rA", f"{command}; cd /testbed; pytest -rA")
    row = row.model_copy(update={"evaluation_script": script})
    change = "".join(
        f"--- a/{path}\n+++ b/{path}\n@@ -{n} +{n} @@\n-{line}\n+{line.replace('image', 'patch')}\n"
        for path, text in files.items()
        for n, line in enumerate(text.splitlines(), start=1)
        if "image" in line
    )
    execution = asyncio.run(execute_in_image(row, (GOLD + change).encode(), sandbox(row)))
    assert "of the image" in execution.log
    assert "of the patch" not in execution.log
    assert execution.counts.resolved


def test_an_environment_in_the_repository_is_not_the_patchs_to_change():
    row = shelf_row(setup_script="mkdir -p own/bin; echo whole > own/bin/activate; touch own/pyvenv.cfg\n")
    shown = "cat own/bin/activate\n: '>>>>> Start"
    row = row.model_copy(
        update={"evaluation_script": row.evaluation_script.replace(": '>>>>> Start", shown, 1)}
    )
    change = (
        "diff --git a/own/bin/activate b/own/bin/activate\n--- a/own/bin/activate\n+++ b/own/bin/activate\n"
    )
    change += "@@ -1 +1 @@\n-whole\n+forged\n"
    execution = asyncio.run(execute_in_image(row, (GOLD + change).encode(), sandbox(row)))
    assert "\nwhole\n" in execution.log
    assert execution.counts.resolved
    assert not resolved(FUZZY + change, row)


def test_a_fix_is_resolved_beside_files_that_would_break_the_tests():
    broken = [added(path, "raise SystemExit(3)") for path in ("conftest.py", "tests/conftest.py")]
    broken += [added("setup.cfg", "[tool:pytest]", "addopts = --no-such-option")]
    assert resolved(GOLD + "".join(broken), shelf_row())


def test_files_that_steer_are_as_the_image_has_them_unless_the_fix_touches_them():
    before = "echo '# of the image' > conftest.py; echo '# of the image' > setup.cfg; mkdir build/x\n"
    before += "echo '# of the image' > build/x/conftest.py; git add conftest.py\n"
    shown = "cat setup.cfg conftest.py build/x/conftest.py; ls\n: '>>>>> Start"
    row = shelf_row(setup_script=before)
    row = row.model_copy(
        update={"evaluation_script": row.evaluation_script.replace(": '>>>>> Start", shown, 1)}
    )
    change = "".join(
        f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-# of the image\n+# of the patch\n"
        for path in ("conftest.py", "setup.cfg", "build/x/conftest.py")
    )
    patch = (GOLD + change + added("tox.ini", "[x]")).encode()
    log = asyncio.run(execute_in_image(row, patch, sandbox(row))).log
    assert log.count("\n# of the image") == 3
    assert "tox.ini" not in log
    row = row.model_copy(update={"gold_patch": GOLD + change[: change.index("diff --git a/build")]})
    log = asyncio.run(execute_in_image(row, patch, sandbox(row))).log
    assert (log.count("\n# of the patch"), log.count("\n# of the image")) == (2, 1)


def test_hidden_files_and_the_repositorys_own_test_runners_are_those_of_the_image():
    runner = "printf 'echo of the image\\n' | tee run_tests.sh > tests/run; chmod +x tests/run; mkdir /gold\n"
    row = shelf_row(setup_script=f"{runner}echo secret > /gold/x; ln -s /gold gold\n",
                    hidden_paths=("/testbed/run_tests.sh", "/testbed/gold", "/gold"))  # fmt: skip
    script = row.evaluation_script.replace(
        "pytest -rA", "X='1 2' tests/run; bash run_tests.sh; cat gold/*; pytest -rA"
    )
    row = row.model_copy(update={"evaluation_script": script})
    change = "".join(
        f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-echo of the image\n+echo of the patch\n"
        for path in ("run_tests.sh", "tests/run")
    )
    log = asyncio.run(execute_in_image(row, (GOLD + change).encode(), sandbox(row))).log
    assert log.count("\nof the image") == 2
    assert "of the patch" not in log
    through_a_link = FUZZY + "--- a/gold/x\n+++ b/gold/x\n@@ -1 +1 @@\n-secret\n+of the patch\n"
    assert asyncio.run(execute_in_image(row, through_a_link.encode(), sandbox(row))).counts is None


PACKAGES = ".venv/lib/python3.11/site-packages"


def test_installed_packages_in_the_repository_are_not_the_patchs_to_change():
    row = shelf_row(setup_script=f"mkdir -p {PACKAGES}; echo whole > {PACKAGES}/x.py\n")
    shown = f"cat {PACKAGES}/*\n: '>>>>> Start"
    row = row.model_copy(
        update={"evaluation_script": row.evaluation_script.replace(": '>>>>> Start", shown, 1)}
    )
    change = f"diff --git a/{PACKAGES}/x.py b/{PACKAGES}/x.py\n--- a/{PACKAGES}/x.py\n+++ b/{PACKAGES}/x.py\n"
    change += "@@ -1 +1 @@\n-whole\n+forged\n"
    execution = asyncio.run(execute_in_image(row, (GOLD + change).encode(), sandbox(row)))
    assert "\nwhole\n" in execution.log
    assert execution.counts.resolved
    assert not resolved(FUZZY + change, row)


def test_a_patch_cannot_write_into_gits_own_directory():
    hook = f"--- /dev/null\n+++ b/.git/config\n@@ -0,0 +1 @@\n+x\n{WRONG}"
    execution = asyncio.run(execute_in_image(shelf_row(), (FUZZY + hook).encode(), sandbox(shelf_row())))
    assert execution.counts is None
    hook = added(
        ".git/hooks/post-checkout", "#!/bin/sh", "sed -i 's/count - 1/count/' shelf.py", mode="100755"
    )
    assert not resolved(hook, shelf_row())


def test_what_the_image_has_beside_its_repository_is_there_for_a_patch_that_needs_fuzz():
    row = shelf_row()
    shown = "cat setup.log build/out\n: '>>>>> Start"
    row = row.model_copy(
        update={"evaluation_script": row.evaluation_script.replace(": '>>>>> Start", shown, 1)}
    )
    execution = asyncio.run(execute_in_image(row, FUZZY.encode(), sandbox(row)))
    assert "\ninstalled here\nbuilt\n" in execution.log
    assert execution.counts.resolved


def test_a_test_patch_that_git_cannot_read_is_the_tasks_fault():
    row = shelf_row(test_patch="diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\nno line of a hunk\n")
    with pytest.raises(SandboxError, match="test_patch"):
        resolved(GOLD, row)
