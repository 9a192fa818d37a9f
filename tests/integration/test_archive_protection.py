"""What a patch may bring along to a task of one's own code: nothing of it decides a verdict, and nothing of it costs a
fix."""

import asyncio
import io
import subprocess
import tarfile

import pytest
from lean_python import lean_python
from own_code import MAKE_SANDBOX
from scaffold_in_sandbox import needs_sandbox

from turnmix.environments.repositories.archive.execution import execute_tests
from turnmix.environments.repositories.task_file import TaskRow

pytestmark = needs_sandbox

CODE = "def add(a, b):\n    return a - b\n"
TESTS = "from calc import add\ndef test_add():\n    assert add(1, 2) == 3\n"
GOLD = "diff --git a/{0} b/{0}\n--- a/{0}\n+++ b/{0}\n"
GOLD += "@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n"
SCRIPT = "unset PYTHONPATH\nexec python -s /tmp/turnmix/pytest_report.py {} -- -p no:cacheprovider --rootdir=. {}\n"


def archive(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


FLAT = archive(**{"calc.py": CODE, "test_calc.py": TESTS, "conftest.py": "import sys\n"})
BESIDE = archive(
    **{"src/calc.py": CODE, "tests/test_calc.py": TESTS, "tests/helper.py": "", "data/json/a.json": "{}"}
)


def row_of(content, **changes):
    """A task of the repository that the archive holds."""
    code, tests = ("calc.py", "test_calc.py") if content is FLAT else ("src/calc.py", "tests/test_calc.py")
    sources = ("/testbed",) if content is FLAT else ("/testbed/src", "/testbed")
    fields = {
        "instance_id": "calc-1",
        "source": "injection",
        "repository": "calc",
        "archive": f"archives/{'0' * 64}.tar.gz",
        "python_environment": lean_python(),
        "source_directories": sources,
        "problem_statement": "add is wrong",
        "gold_patch": GOLD.format(code),
        "test_files": (tests, "conftest.py") if content is FLAT else (tests, "tests/helper.py"),
        "fail_to_pass": (f"{tests}::test_add",),
        "test_command": "python -m pytest",
        "evaluation_script": SCRIPT.format(" ".join(sources), tests),
        "timeout_seconds": 300.0,
        **changes,
    }
    return TaskRow.model_validate(fields)


def executed(patch, content=FLAT, **changes):
    row = row_of(content, **changes)
    patch = patch if isinstance(patch, bytes) else patch.encode()
    return row, asyncio.run(execute_tests(row, content, patch, MAKE_SANDBOX(row)))


def resolved(patch, content=FLAT, **changes):
    row, execution = executed(patch, content, **changes)
    return execution.is_complete and all(map(execution.passes, row.fail_to_pass))


def added(path, *lines):
    header = f"diff --git a/{path} b/{path}\nnew file mode 100644\n"
    if not lines:
        return header + "index 0000000..e69de29\n"
    content = "".join(f"+{line}\n" for line in lines)
    return f"{header}--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n{content}"


RUNS_NOTHING = ("import _pytest.python", "_pytest.python.Function.runtest = lambda self: None")
ENTRY = ("[pytest11]", "evil = evil")
METADATA = ("Metadata-Version: 2.1", "Name: evil", "Version: 1")


def metadata(directory, file="METADATA"):
    return (
        added(f"{directory}/entry_points.txt", *ENTRY)
        + added(f"{directory}/{file}", *METADATA)
        + added("evil.py", *RUNS_NOTHING)
    )


SOURCELESS = (
    "import _pytest.python\n_pytest.python.Function.runtest = lambda self: None\ndef test_add():\n    pass\n"
)


def package(name, *lines):
    return added(f"{name}/__init__.py", *lines)


TRAPS = {
    "a dist-info": metadata("evil-1.dist-info"),
    "an egg-info": metadata("evil.egg-info", "PKG-INFO"),
    "a dist-info in capitals": metadata("EVIL-1.DIST-INFO"),
    "a package in the place of a conftest": package(
        "conftest", "import os", "__file__ = os.path.abspath('conftest.py')", *RUNS_NOTHING
    ),
    "the root as a package": package(".", *RUNS_NOTHING).replace("./", ""),
    "a package in the place of the tests": package(
        "test_calc", "import os", "__file__ = os.path.abspath('test_calc.py')", "def test_add():", "    pass"
    ),
    **{
        f"a module {name}": added(f"{name}.py", *RUNS_NOTHING)
        for name in ("code", "readline", "difflib", "concurrent", "asyncio")
    },
}


@pytest.mark.parametrize("patch", TRAPS.values(), ids=TRAPS)
def test_a_patch_does_not_steer_the_tests_by(patch):
    assert not resolved(patch)


TRAPS_BESIDE = {
    "metadata beside the sources": metadata("src/evil-1.dist-info"),
    "a module beside the sources": added("src/code.py", *RUNS_NOTHING),
    "a module beside the tests": added("tests/code.py", *RUNS_NOTHING),
    "a conftest beside the tests": added("tests/conftest.py", *RUNS_NOTHING),
    "the tests as a package": added("tests/__init__.py", *RUNS_NOTHING),
}


@pytest.mark.parametrize("patch", TRAPS_BESIDE.values(), ids=TRAPS_BESIDE)
def test_a_patch_to_a_repository_with_directories_does_not_steer_the_tests_by(patch):
    assert not resolved(patch, BESIDE)


def test_everything_that_is_set_aside_costs_a_fix_nothing_and_is_told():
    everything = {section for patch in TRAPS.values() for section in patch.split("diff --git ") if section}
    row, execution = executed(
        row_of(FLAT).gold_patch + "".join(f"diff --git {s}" for s in sorted(everything))
    )
    assert all(map(execution.passes, row.fail_to_pass))
    assert {"code.py", "evil-1.dist-info", "conftest", "__init__.py", "test_calc"} <= set(execution.set_aside)
    assert "evil.py" not in execution.set_aside
    assert "calc.py" not in execution.set_aside


def test_a_fix_keeps_modules_of_the_standard_librarys_names_where_they_are_its_own():
    fix = "diff --git a/src/calc.py b/src/calc.py\n--- a/src/calc.py\n+++ b/src/calc.py\n@@ -1,2 +1,2 @@\n"
    fix += "-def add(a, b):\n-    return a - b\n+from calculation.code import add\n+from fractions_of import zero\n"
    fix += package("src/calculation") + added("src/calculation/code.py", "def add(a, b):", "    return a + b")
    fix += added("src/fractions_of.py", "zero = 0")
    row, execution = executed(fix, BESIDE)
    assert all(map(execution.passes, row.fail_to_pass))
    assert execution.set_aside == ()


def test_a_module_that_the_fix_itself_adds_is_kept_whatever_its_name():
    fix = GOLD.format("calc.py").replace("+    return a + b", "+    return __import__('this').add(a, b)")
    fix += added("this.py", "def add(a, b):", "    return a + b")
    assert resolved(fix, gold_patch=fix)
    assert not resolved(fix)


def compiled(folder, source, name):
    """A patch that adds the compiled form of `source` for the test file as pytest would read it."""
    from importlib.util import MAGIC_NUMBER, source_hash
    from marshal import dumps

    from _pytest.assertion.rewrite import PYC_TAIL

    tests = folder / name
    head = MAGIC_NUMBER + b"\3\0\0\0" + source_hash(TESTS.encode())
    cached = folder / "__pycache__" / (tests.stem + PYC_TAIL)
    cached.parent.mkdir()
    cached.write_bytes(head + dumps(compile(source, f"/testbed/{name}", "exec")))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A", "-f"], cwd=folder, check=True)
    command = [
        "git",
        "diff",
        "--cached",
        "--binary",
        "--full-index",
        subprocess.run(
            ["git", "hash-object", "-t", "tree", "/dev/null"], capture_output=True, check=True, text=True
        ).stdout.strip(),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout


def test_a_compiled_form_of_the_tests_that_a_patch_brings_is_not_run(tmp_path):
    patch = compiled(tmp_path, SOURCELESS, "test_calc.py")
    assert b"GIT binary patch" in patch
    assert not resolved(patch)


def test_a_patch_cannot_keep_the_test_patch_from_being_applied():
    change = (
        "diff --git a/test_calc.py b/test_calc.py\n--- a/test_calc.py\n+++ b/test_calc.py\n@@ -1,3 +1,3 @@\n"
    )
    change += (
        " from calc import add\n def test_add():\n-    assert add(1, 2) == 3\n+    assert add(3, 2) == 5\n"
    )
    test_patch = change + added("more/data.txt", "x")
    files = ("test_calc.py", "more/data.txt")
    assert not resolved(added("more", "x"), test_patch=test_patch, test_files=files)
    row = row_of(FLAT)
    assert resolved(row.gold_patch + added("more", "x"), test_patch=test_patch, test_files=files)
