"""What TurnMix stores and reads of a task is what the package `swebench` makes and reads of the same row."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("swebench", reason="grading in images needs swebench: pip install 'turnmix[swe]'")

from published_rows import FAILING, PASSING, TEST_PATCH, gym_row, rebench_v2_row, verified_row
from turnmix.core.errors import InfrastructureError
from turnmix.environments.repositories.adapters.registry import DatasetSettings, adapt_rows
from turnmix.environments.repositories.logs.test_log import check_parser, count_tests


def task(name, row):
    result = adapt_rows(DatasetSettings(rows="x.jsonl", adapter=name), [row])
    assert result.rejections == []
    return result.rows[0]


def swebench_specification(row):
    from swebench.harness.utils import make_test_spec

    return make_test_spec(row)


def swebench_verdict(specification, log, path):
    from swebench.harness.grading import get_eval_report

    path.write_text(log)
    prediction = {
        "instance_id": specification.instance_id,
        "model_name_or_path": "x",
        "model_patch": "diff --git a/x b/x\n",
    }
    report = get_eval_report(
        test_spec=specification, prediction=prediction, test_log_path=str(path), include_tests_status=True
    )
    return report[specification.instance_id]["resolved"]


VERIFIED = [
    verified_row(),
    verified_row(instance_id="django__django-11099", repo="django/django", log_parser="parse_log_django",
                 image="swebench/sweb.eval.x86_64.django_1776_django-11099:latest"),
    verified_row(eval_script="#!/bin/bash\nset -uxo pipefail\necho no marks\n"),
    verified_row(PASS_TO_PASS="[]", eval_type="fail_only"),
]  # fmt: skip


@pytest.mark.parametrize("row", VERIFIED)
def test_script_image_and_tests_of_a_row_are_those_of_swebench(row):
    specification, ours = swebench_specification(row), task("swe-bench", row)
    assert ours.evaluation_script == specification.eval_script
    assert ours.image == specification.image
    assert list(ours.fail_to_pass) == specification.FAIL_TO_PASS
    assert list(ours.pass_to_pass) == specification.PASS_TO_PASS
    assert (ours.log_parser, ours.evaluation_type) == (specification.log_parser, specification.eval_type)


def test_an_image_that_a_row_does_not_name_is_the_one_that_rows_of_the_set_name():
    named = swebench_specification(verified_row()).image
    assert task("swe-bench", verified_row(image=None)).image == named


def log_of(*lines, exit_code=0, marks=True):
    start, end = ("+ : '>>>>> Start Test Output'", "+ : '>>>>> End Test Output'") if marks else ("", "")
    return "\n".join(["setting up", start, *lines, end, f">>>>> Test Exit Code: {exit_code}", ""])


LOGS = {
    "all pass": log_of(f"PASSED {FAILING}", f"PASSED {PASSING}"),
    "one fails": log_of(f"PASSED {PASSING}", f"FAILED {FAILING} - assert 1 == 2", exit_code=1),
    "a kept one fails": log_of(f"PASSED {FAILING}", f"FAILED {PASSING}", exit_code=1),
    "expected failure": log_of(f"XFAIL {FAILING}", f"PASSED {PASSING}"),
    "skipped": log_of(f"SKIPPED {FAILING}", f"SKIPPED {PASSING}"),
    "skipped summary": log_of("SKIPPED [2] tests/test_shelf.py:3: no reason"),
    "absent": log_of(f"PASSED {PASSING}"),
    "no tests": log_of("no tests ran in 0.01s", exit_code=5),
    "no marks": log_of(f"PASSED {FAILING}", f"PASSED {PASSING}", marks=False),
    "exit code disagrees": log_of(f"PASSED {FAILING}", f"PASSED {PASSING}", exit_code=1),
    "patch failed": log_of(">>>>> Patch Apply Failed", f"PASSED {FAILING}", f"PASSED {PASSING}"),
    "empty": "",
}


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
def test_a_log_is_read_as_swebench_reads_it(log, tmp_path):
    row = verified_row()
    counts = count_tests(task("swe-bench", row), b"diff --git a/x b/x\n", log.encode())
    assert counts.resolved is swebench_verdict(swebench_specification(row), log, tmp_path / "log")
    assert counts.passed + counts.failed == 2


def test_only_logs_whose_tests_all_pass_are_resolved():
    row = task("swe-bench", verified_row())
    resolved = {name for name, log in LOGS.items() if count_tests(row, b"", log.encode()).resolved}
    assert resolved == {"all pass", "expected failure"}


def test_a_log_that_is_no_text_is_read_all_the_same():
    row = task("swe-bench", verified_row())
    log = LOGS["all pass"].encode().replace(b"setting up", b"\xff\xfe\x00")
    assert count_tests(row, b"", log).resolved


def test_a_log_that_breaks_its_parser_is_unresolved():
    row = task("swe-bench", verified_row(log_parser="parse_log_django"))
    counts = count_tests(row, b"", log_of("ERROR:").encode())
    assert (counts.resolved, counts.passed, counts.failed) == (False, 0, 2)


def test_a_row_of_rebench_whose_log_nothing_here_reads_is_no_task():
    configuration = {"test_cmd": "make test", "log_parser": "parse_log_of_nobody"}
    rejected = adapt_rows(
        DatasetSettings(rows="x.jsonl", adapter="swe-rebench"), [rebench_v2_row(install_config=configuration)]
    ).rejections
    assert "install_config.log_parser: 'parse_log_of_nobody' is no parser that is known here" in str(
        rejected[0]
    )
    row = task("swe-rebench", rebench_v2_row()).model_copy(update={"log_parser": "parse_log_of_nobody"})
    with pytest.raises(InfrastructureError, match="log_parser: 'parse_log_of_nobody' is no parser"):
        count_tests(row, b"", b"")


TIMED = [
    ("parse_log_jest", "adds an item (12 ms)", "  ✓ adds an item (9 ms)"),
    ("parse_log_jest", "adds an item (1.2 s)", "  ✓ adds an item"),
    ("parse_log_jest", "adds an item", "  ✓ adds an item (2.5 s)"),
    ("parse_log_vitest", "a.test.ts > adds an item 12ms", " ✓ a.test.ts > adds an item 9ms"),
    ("parse_log_tap", "sorts in 29.08 msec", "ok 1 sorts in 3 msec"),
    ("parse_log_phpunit", "Cart > It adds [1.34 ms]", "Cart (App\\Cart)\n ✔ It adds [0.20 ms]"),
]


@pytest.mark.parametrize(("parser", "name", "line"), TIMED)
def test_the_time_that_a_runner_wrote_into_a_name_of_rebench_does_not_count(parser, name, line):
    configuration = {"test_cmd": "make test", "log_parser": parser}
    row = task(
        "swe-rebench", rebench_v2_row(install_config=configuration, FAIL_TO_PASS=[name], PASS_TO_PASS=[])
    )
    assert count_tests(row, b"", log_of(line, exit_code=1).encode()).resolved
    for other in (
        line.replace("✓", "×" if parser == "parse_log_vitest" else "✕")
        .replace("✔", "✘")
        .replace("ok 1", "not ok 1"),
        "no test ran",
    ):
        assert not count_tests(row, b"", log_of(other).encode()).resolved


def test_of_names_that_differ_by_a_time_alone_all_have_to_pass():
    configuration = {"test_cmd": "make test", "log_parser": "parse_log_tap"}
    row = task(
        "swe-rebench",
        rebench_v2_row(
            install_config=configuration, FAIL_TO_PASS=["a (3 ms)", "waits 100ms"], PASS_TO_PASS=[]
        ),
    )
    exact = ("ok 3 waits 100ms", "not ok 4 waits 200ms")
    assert count_tests(row, b"", log_of("ok 1 a (1 ms)", "ok 2 a (2 ms)", *exact).encode()).resolved
    assert not count_tests(row, b"", log_of("ok 1 a (1 ms)", "not ok 2 a (2 ms)", *exact).encode()).resolved


def test_every_parser_that_an_adapter_names_is_one_of_swebench():
    from turnmix.environments.repositories.adapters.gym_commands import COMMANDS

    for command in COMMANDS.values():
        check_parser(task("swe-gym", gym_row()).model_copy(update={"log_parser": command.parser}))


def test_the_script_of_swe_gym_does_what_swebench_does_with_the_same_commands():
    """swebench 4 made scripts of commands; 5 stores what that made, so here are its lines, in their order."""
    ours = task("swe-gym", gym_row()).evaluation_script
    places = [
        ours.index(part)
        for part in (
            "set -uxo pipefail", "source /opt/miniconda3/bin/activate", "conda activate testbed", "cd /testbed",
            "git checkout ", TEST_PATCH, ">>>>> Start Test Output", "pytest -rA tests/test_shelf.py",
            ">>>>> End Test Output", ">>>>> Test Exit Code: ",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert ours.count("git checkout ") == 2


OLDER = """
import json, sys
from published_rows import bench_columns, gym_row
from swebench.harness import constants
from swebench.harness.test_spec.create_scripts import make_eval_script_list
from turnmix.environments.repositories.adapters.gym_commands import COMMANDS
from turnmix.environments.repositories.adapters.registry import DatasetSettings, adapt_rows

def read(name, row):
    result = adapt_rows(DatasetSettings(rows="x.jsonl", adapter=name), [row])
    assert not result.rejections, result.rejections[0]
    return result.rows[0]

versions = [("psf/requests", "1.1"), ("django/django", "3.0"), ("sympy/sympy", "1.7"), ("pytest-dev/pytest", "5.4")]
bench = [read("swe-bench", bench_columns(repo=repo, version=version)) for repo, version in versions]
row = gym_row()
command = COMMANDS[row["repo"].lower()]
specification = {"test_cmd": command.pytest}
constants.MAP_REPO_VERSION_TO_SPECS[row["repo"]] = {row["version"]: specification}
constants.MAP_REPO_TO_EXT[row["repo"]] = "py"
lines = make_eval_script_list(row, specification, "testbed", "/testbed", row["base_commit"], row["test_patch"])
print(json.dumps({
    "parsers": {task.repository: task.log_parser for task in bench},
    "scripts": [task.evaluation_script for task in bench],
    "images": [task.image for task in bench],
    "ours": read("swe-gym", row).evaluation_script.splitlines(),
    "theirs": "\\n".join(lines).splitlines(),
}))
"""


def meaning(lines):
    """The test files put back, the patch, and the command between the marks."""
    start = next(number for number, line in enumerate(lines) if "Start Test Output" in line)
    patch = [line for line in lines if line.startswith(("+", "-", "@", " ", "diff "))]
    reset = {
        line.partition(" -- ")[2] or line.split(" ", 3)[3]
        for line in lines
        if line.startswith("git checkout ")
    }
    return reset, patch, lines[start + 1]


def test_rows_of_before_are_completed_by_swebench_4_whose_scripts_for_swe_gym_mean_what_ours_mean(tmp_path):
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--retries",
        "1",
        "swebench==4.1.0",
        "-d",
        str(tmp_path),
    ]
    done = subprocess.run(download, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no package index gives swebench 4.1.0")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "older")
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'older'}{os.pathsep}{tests}"}
    done = subprocess.run(
        [sys.executable, "-c", OLDER], capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert meaning(told["ours"]) == meaning(told["theirs"])
    assert told["parsers"] == {
        "psf/requests": "parse_log_pytest_options",
        "django/django": "parse_log_django",
        "sympy/sympy": "parse_log_sympy",
        "pytest-dev/pytest": "parse_log_pytest",
    }
    assert "./tests/runtests.py --verbosity 2" in told["scripts"][1]
    assert all(">>>>> Test Exit Code: " in script for script in told["scripts"])
    assert set(told["images"]) == {"swebench/sweb.eval.x86_64.psf_1776_requests-1142:latest"}
