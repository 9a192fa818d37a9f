"""Rows of published task sets, written by hand in each set's own columns and types."""

from __future__ import annotations

import json
from typing import Any

GOLD = """\
diff --git a/shelf.py b/shelf.py
--- a/shelf.py
+++ b/shelf.py
@@ -1,2 +1,2 @@
 def take(items, count):
-    return items[:count - 1]
+    return items[:count]
"""
TEST_PATCH = """\
diff --git a/tests/test_shelf.py b/tests/test_shelf.py
--- a/tests/test_shelf.py
+++ b/tests/test_shelf.py
@@ -4,3 +4,7 @@
 
 def test_none():
     assert take([], 0) == []
+
+
+def test_take():
+    assert take([1, 2, 3], 2) == [1, 2]
diff --git a/tests/data/new.json b/tests/data/new.json
new file mode 100644
--- /dev/null
+++ b/tests/data/new.json
@@ -0,0 +1 @@
+{}
"""
FAILING, PASSING = "tests/test_shelf.py::test_take", "tests/test_shelf.py::test_none"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """\
#!/bin/bash
set -uxo pipefail
source /opt/miniconda3/bin/activate
conda activate testbed
cd /testbed
git checkout 0123456789abcdef tests/test_shelf.py
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_shelf.py b/tests/test_shelf.py
EOF_114329324912
: '>>>>> Start Test Output'
pytest -rA tests/test_shelf.py
: '>>>>> End Test Output'
git checkout 0123456789abcdef tests/test_shelf.py
"""


def bench_columns(**other: Any) -> dict[str, Any]:
    """The columns of SWE-bench and its kin, as SWE-bench_Verified has them: lists are JSON strings."""
    return {
        "repo": "psf/requests",
        "instance_id": "psf__requests-1142",
        "base_commit": COMMIT,
        "patch": GOLD,
        "test_patch": TEST_PATCH,
        "problem_statement": "take() gives one too few.",
        "hints_text": "",
        "created_at": "2013-01-25T05:19:16Z",
        "version": "1.1",
        "FAIL_TO_PASS": json.dumps([FAILING]),
        "PASS_TO_PASS": json.dumps([PASSING]),
        "environment_setup_commit": COMMIT,
        "difficulty": "<15 min fix",
        **other,
    }


def verified_row(**other: Any) -> dict[str, Any]:
    """SWE-bench_Verified, as swebench 5 reads it."""
    own = {
        "image": "swebench/sweb.eval.x86_64.psf_1776_requests-1142:latest",
        "eval_script": SCRIPT,
        "log_parser": "parse_log_pytest_options",
        "eval_type": "pass_and_fail",
    }
    return bench_columns(**{**own, **other})


def gym_row(**other: Any) -> dict[str, Any]:
    """SWE-Gym: lists are lists, and there is no environment_setup_commit."""
    row = bench_columns(
        repo="Project-MONAI/MONAI",
        instance_id="Project-MONAI__MONAI-1010",
        version="0.3",
        FAIL_TO_PASS=[FAILING],
        PASS_TO_PASS=[PASSING],
    )
    for column in ("environment_setup_commit", "difficulty"):
        del row[column]
    return {**row, **other}


def sky_row(*, as_text: bool = False, **other: Any) -> dict[str, Any]:
    """SkyRL-v0-293: the task is one column."""
    instance = gym_row(instance_id="getmoto__moto-5620", repo="getmoto/moto", version="4.0", **other)
    prompt = [{"role": "user", "content": "…"}]
    return {
        "data_source": "swe-gym",
        "prompt": prompt,
        "instance": json.dumps(instance) if as_text else instance,
    }


BUG = """\
diff --git a/shelf.py b/shelf.py
index 0dd8f5f..a7f2a3c 100644
--- a/shelf.py
+++ b/shelf.py
@@ -1,2 +1,2 @@
 def take(items, count):
-    return items[:count]
+    return items[:count - 1]
"""


def smith_row(**other: Any) -> dict[str, Any]:
    """SWE-smith: the patch is the bug."""
    return {
        "instance_id": "oauthlib__oauthlib.1fd52536.combine_file__09vlzwgc",
        "patch": BUG,
        "FAIL_TO_PASS": [FAILING],
        "PASS_TO_PASS": [PASSING, "tests/test_other.py::test_elsewhere"],
        "image_name": "jyangballin/swesmith.x86_64.oauthlib__oauthlib.1fd52536",
        "repo": "swesmith/oauthlib__oauthlib.1fd52536",
        "problem_statement": "take() gives one too few.",
        "strategy": "combine_file",
        **other,
    }


def r2e_row(**other: Any) -> dict[str, Any]:
    """R2E-Gym-Subset: a commit, and what each test comes to after it."""

    def change(path: str, old: str, new: str) -> dict[str, Any]:
        return {
            "header": {"file": {"path": path}, "misc_line": None},
            "is_binary_file": False,
            "old_file_content": old,
            "new_file_content": new,
            "hunks": [],
        }

    old = "def take(items, count):\n    return items[:count - 1]\n"
    new = "def take(items, count):\n    return items[:count]\n"
    commit = {
        "file_diffs": [
            change("shelf.py", old, new),
            change("tests/test_shelf.py", "", "def test_take(): ...\n"),
        ],
        "old_commit_hash": COMMIT[::-1],
        "new_commit_hash": COMMIT,
        "commit_message": "Repair take",
    }
    before = (
        "=== short test summary info ===\nPASSED r2e_tests/test_1.py::TestShelf::test_none\n"
        "FAILED r2e_tests/test_1.py::TestShelf::test_take - assert [1] == [1, 2]\n=== 1 failed, 1 passed ==="
    )
    return {
        "repo_name": "shelf",
        "docker_image": f"namanjain12/shelf_final:{COMMIT}",
        "commit_hash": COMMIT,
        "parsed_commit_content": json.dumps(commit),
        "execution_result_content": json.dumps(
            {"old_commit_res_stdout": before, "test_file_names": ["test_1.py"]}
        ),
        "expected_output_json": json.dumps(
            {"TestShelf.test_none": "PASSED", "TestShelf.test_take": "PASSED"}
        ),
        "problem_statement": "[ISSUE]\ntake() gives one too few.\n[/ISSUE]",
        "prompt": "…",
        **other,
    }


def rebench_row(**other: Any) -> dict[str, Any]:
    """SWE-rebench."""
    row = bench_columns(
        repo="0b01001001/spectree",
        instance_id="0b01001001__spectree-64",
        version="0.3",
        FAIL_TO_PASS=[FAILING],
        PASS_TO_PASS=[PASSING],
        install_config={
            "install": "pip install -e .[dev]",
            "log_parser": "parse_log_pytest",
            "python": "3.9",
            "test_cmd": "pytest --no-header -rA --tb=line --color=no -p no:cacheprovider",
        },
        license_name="Apache License 2.0",
        meta={"num_modified_files": 1},
    )
    return {**row, **other}


def rebench_v2_row(**other: Any) -> dict[str, Any]:
    """SWE-rebench-V2: also the repository's own folder."""
    configuration = {"test_cmd": ["pytest -rA tests"], "log_parser": "parse_log_pytest"}
    own = {"language": "python", "image_name": "swerebench/sweb.eval.x86_64.0b01001001_1776_spectree-64"}
    return rebench_row(**{**own, "install_config": configuration, **other})
