"""Published task sets become rows of a task file; what is no task is named with its reason."""

import json
import subprocess

import pytest

from published_rows import (
    BUG,
    COMMIT,
    FAILING,
    GOLD,
    PASSING,
    TEST_PATCH,
    bench_columns,
    gym_row,
    r2e_row,
    rebench_row,
    rebench_v2_row,
    sky_row,
    smith_row,
    verified_row,
)
from turnmix.cli.train import train
from turnmix.core.errors import UserError
from turnmix.environments.repositories.adapters.fetching import fetch_rows
from turnmix.environments.repositories.adapters.registry import ADAPTERS, HUB_IDS, DatasetSettings, adapt_rows
from turnmix.environments.repositories.adapters.reversal import reversed_patch
from turnmix.environments.repositories.logs.test_log import count_tests
from turnmix.environments.repositories.task_file import read_rows, split_rows, write_rows

GOOD = {
    "swe-bench": verified_row(),
    "swe-gym": gym_row(),
    "sky-rl": sky_row(),
    "swe-smith": smith_row(),
    "r2e-gym": r2e_row(),
    "swe-rebench": rebench_row(),
}


def adapted(name, *rows, **settings):
    return adapt_rows(DatasetSettings(rows="x.jsonl", adapter=name, **settings), rows)


def task(name, row):
    result = adapted(name, row)
    assert result.rejections == []
    return result.rows[0]


def reason(name, row):
    result = adapted(name, row)
    assert result.rows == []
    return str(result.rejections[0])


@pytest.mark.parametrize("name", GOOD)
def test_a_row_of_each_set_becomes_a_task_that_a_file_keeps(name, tmp_path):
    row = task(name, GOOD[name])
    assert row.fail_to_pass
    assert row.pass_to_pass
    assert "take()" in row.problem_statement
    assert "+    return items[:count]\n" in row.gold_patch
    assert (row.image, row.archive) != (None, None)
    write_rows(tmp_path / "tasks.jsonl", [row])
    assert read_rows(tmp_path / "tasks.jsonl") == ([row], [])


def test_every_hub_id_names_an_adapter_and_a_split():
    assert {name for name, _ in HUB_IDS.values()} == set(ADAPTERS)
    assert all(split for _, split in HUB_IDS.values())


def test_images_are_named_as_each_set_publishes_them():
    images = {name: task(name, row).image for name, row in GOOD.items()}
    assert images == {
        "swe-bench": "swebench/sweb.eval.x86_64.psf_1776_requests-1142:latest",
        "swe-gym": "xingyaoww/sweb.eval.x86_64.project-monai_s_monai-1010:latest",
        "sky-rl": "xingyaoww/sweb.eval.x86_64.getmoto_s_moto-5620:latest",
        "swe-smith": "jyangballin/swesmith.x86_64.oauthlib_1776_oauthlib.1fd52536:latest",
        "r2e-gym": f"namanjain12/shelf_final:{COMMIT}",
        "swe-rebench": "swerebench/sweb.eval.x86_64.0b01001001_1776_spectree-64:latest",
    }
    assert task("swe-bench", verified_row(image=None)).image == images["swe-bench"]
    assert task("swe-smith", smith_row(image_name="swesmith.x86_64.A__b.1fd5")).image == (
        "jyangballin/swesmith.x86_64.a_1776_b.1fd5:latest"
    )


def test_lists_come_as_lists_and_as_json_strings():
    for name, row in (("swe-bench", verified_row()), ("swe-gym", gym_row())):
        for value in ([FAILING], json.dumps([FAILING])):
            assert task(name, {**row, "FAIL_TO_PASS": value}).fail_to_pass == (FAILING,)


def test_the_row_of_skyrl_is_an_object_or_a_json_string_of_one():
    assert task("sky-rl", sky_row(as_text=True)) == task("sky-rl", sky_row())
    assert "instance: " in reason("sky-rl", {"instance": "{"})
    assert "instance" in reason("sky-rl", {"data_source": "swe-gym"})


def test_a_test_that_is_in_both_lists_has_to_turn():
    row = task("swe-gym", gym_row(PASS_TO_PASS=[PASSING, FAILING, PASSING]))
    assert (row.fail_to_pass, row.pass_to_pass) == ((FAILING,), (PASSING,))


def test_the_script_of_swe_gym_puts_tests_back_and_runs_those_of_the_patch():
    script = task("swe-gym", gym_row()).evaluation_script
    lines = script.split("\n")
    assert lines[:3] == [
        "#!/bin/bash",
        "set -uxo pipefail",
        "source /opt/miniconda3/bin/activate && conda activate testbed",
    ]
    reset = f"git checkout {COMMIT} -- tests/test_shelf.py"
    assert lines.count(reset) == 2
    assert TEST_PATCH in script
    start = lines.index(": '>>>>> Start Test Output'")
    assert lines.index(reset) < start
    assert lines[start + 1] == "pytest -rA tests/test_shelf.py"
    assert " -e" not in lines[1]


def test_mypy_is_tested_by_the_cases_of_its_data_files():
    patch = (
        "diff --git a/test-data/unit/check.test b/test-data/unit/check.test\n--- a/test-data/unit/check.test\n"
        "+++ b/test-data/unit/check.test\n@@ -1 +1,3 @@\n a\n+[case testOne]\n+[case testTwo]\n"
    )
    row = task("swe-gym", gym_row(repo="python/mypy", instance_id="python__mypy-1", test_patch=patch))
    assert "\npytest -n0 -rA -k 'testOne or testTwo'\n" in row.evaluation_script
    assert "test_patch: names no test case" in reason("swe-gym", gym_row(repo="python/mypy"))


def test_the_patch_of_swe_smith_is_the_bug_and_gold_its_reverse():
    row = task("swe-smith", smith_row())
    assert row.gold_patch == reversed_patch(BUG)
    assert row.gold_patch == GOLD.replace("--- a/", "index a7f2a3c..0dd8f5f 100644\n--- a/", 1)
    assert "git checkout -q oauthlib__oauthlib.1fd52536.combine_file__09vlzwgc" in row.setup_script
    assert not row.has_history
    assert row.pass_to_pass == (PASSING,)
    assert "tests/test_shelf.py" in row.evaluation_script


SMITH = {
    "swesmith/tornadoweb__tornado.d5ac65c1": "python -m tornado.test --verbose",
    "swesmith/un33k__python-slugify.872b3750": "python test.py --verbose",
    "swesmith/pydantic__pydantic.acb0f10f": "/root/.local/bin/uv run --no-sync pytest",
    "swesmith/mido__mido.a0158ff9": "-c /dev/null tests/test_shelf.py",
    "swesmith/oauthlib__oauthlib.1fd52536": "-rA tests/test_shelf.py",
}


@pytest.mark.parametrize("repository", SMITH)
def test_repositories_of_swe_smith_are_tested_as_the_set_measured_them(repository):
    names = [FAILING]
    if "tornado" in repository or "slugify" in repository:
        names = ["test_take (__main__.TestShelf)"]
    others = [name.replace("take", "none") for name in names]
    row = task("swe-smith", smith_row(repo=repository, FAIL_TO_PASS=names, PASS_TO_PASS=others))
    lines = row.evaluation_script.split("\n")
    assert SMITH[repository] in lines[lines.index(": '>>>>> Start Test Output'") + 1]
    assert (row.fail_to_pass, row.pass_to_pass) == (tuple(names), tuple(others))
    assert any(line.startswith("git checkout HEAD~1 -- ") for line in lines)


def test_mypy_in_swe_smith_is_tested_by_its_cases_and_keeps_those_that_run_with_them():
    place = "mypy/test/testcheck.py::TypeCheckSuite::check-a.test::"
    others = [place + "testOneMore", place + "testOther"]
    row = task(
        "swe-smith",
        smith_row(
            repo="swesmith/python__mypy.e93f06ce", FAIL_TO_PASS=[place + "testOne"], PASS_TO_PASS=others
        ),
    )
    assert '\npytest --color=no -rA -k "testOne"\n' in row.evaluation_script
    assert row.pass_to_pass == (place + "testOneMore",)
    assert "rm -f" not in row.setup_script


def test_r2e_gym_turns_what_failed_before_and_hides_its_tests():
    row = task("r2e-gym", r2e_row())
    assert (row.fail_to_pass, row.pass_to_pass) == (("TestShelf.test_take",), ("TestShelf.test_none",))
    assert "/r2e_tests" in row.hidden_paths
    assert row.problem_statement == "take() gives one too few."
    assert "tests/test_shelf.py" not in row.gold_patch
    everything = task("r2e-gym", r2e_row(execution_result_content=None))
    assert everything.fail_to_pass == ("TestShelf.test_none", "TestShelf.test_take")
    assert "activate" in row.activation


def test_the_second_rebench_lies_in_its_own_folder():
    row = task("swe-rebench", rebench_v2_row())
    assert (row.working_directory, row.activation) == ("/spectree", "")
    assert "\npytest -rA tests\n" in row.evaluation_script
    assert row.image == "swerebench/sweb.eval.x86_64.0b01001001_1776_spectree-64"
    given = json.dumps(rebench_row()["install_config"])
    assert task("swe-rebench", rebench_row(install_config=given)) == task("swe-rebench", rebench_row())


@pytest.mark.parametrize("place", ["test_1", "r2e_tests.test_1", "r2e_tests/test_1.py"])
def test_r2e_gym_has_a_runner_of_its_own_that_names_modules(place):
    before = f"=== short test summary info ===\nPASSED {place}::A::test_old\nFAILED {place}::A::test_new\n"
    row = task(
        "r2e-gym",
        r2e_row(
            expected_output_json=json.dumps({"A.test_old": "PASSED", "\x1b[1mA.test_new\x1b[0m": "PASSED"}),
            execution_result_content=json.dumps({"old_commit_res_stdout": before}),
        ),
    )
    assert (row.fail_to_pass, row.pass_to_pass) == (("A.test_new",), ("A.test_old",))
    assert count_tests(row, b"", before.encode()).passed == 1
    assert count_tests(row, b"", before.replace("FAILED", "PASSED").encode()).resolved


def test_a_test_that_did_not_run_passes_by_no_other_whose_parameter_is_a_time():
    before = "=== short test summary info ===\nPASSED a.py::test_wait[1min]\nPASSED a.py::test_wait[5min]\n"
    expected = {"test_wait[1min]": "PASSED", "test_wait[5min]": "PASSED"}
    ran = {"old_commit_res_stdout": before.replace("PASSED a.py::test_wait[5min]", "")}
    row = task(
        "r2e-gym",
        r2e_row(expected_output_json=json.dumps(expected), execution_result_content=json.dumps(ran)),
    )
    assert count_tests(row, b"", before.encode()).passed == 2
    assert count_tests(row, b"", before.replace("PASSED a.py::test_wait[5min]\n", "").encode()).passed == 1


def test_the_second_rebench_is_tested_as_it_was_measured():
    configuration = {"test_cmd": ["export A=$NONE", "npm test"], "log_parser": "r2e"}
    row = task("swe-rebench", rebench_v2_row(install_config=configuration))
    assert "\nset +ux +o pipefail -e\nexport A=$NONE\nnpm test\n)" in row.evaluation_script
    assert row.test_command == "export A=$NONE && npm test"


BROKEN = [
    ("swe-gym", gym_row(FAIL_TO_PASS=[]), "FAIL_TO_PASS: is empty"),
    ("swe-gym", gym_row(FAIL_TO_PASS="['a']"), "FAIL_TO_PASS: neither a list nor a JSON string of one"),
    ("swe-gym", gym_row(PASS_TO_PASS="[oops"), "PASS_TO_PASS: neither a list nor a JSON string of one"),
    ("swe-gym", gym_row(PASS_TO_PASS=None), "PASS_TO_PASS: not a list of test names"),
    ("swe-gym", gym_row(FAIL_TO_PASS=[3]), "FAIL_TO_PASS: not a list of test names"),
    ("swe-gym", gym_row(repo="psf/requests"), "repo: 'psf/requests' is none of SWE-Gym's"),
    ("swe-gym", gym_row(patch=""), "patch: "),
    ("swe-gym", gym_row(base_commit="main; rm -rf /"), "base_commit: "),
    ("swe-gym", gym_row(problem_statement=""), "problem_statement: "),
    ("swe-gym", gym_row(instance_id="../../etc"), "instance_id: "),
    ("swe-gym", gym_row(test_patch="diff --git a/x.json b/x.json\n"), "test_patch: touches no test file"),
    ("swe-gym", {"instance_id": "only__this-1"}, "repo: "),
    ("swe-gym", ["no", "row"], "no instance_id"),
    ("swe-bench", bench_columns(), "eval_script, log_parser: the row lacks them"),
    ("swe-bench", verified_row(FAIL_TO_PASS="[]"), "FAIL_TO_PASS: is empty"),
    ("swe-bench", verified_row(eval_type="other"), "eval_type: "),
    ("sky-rl", sky_row(FAIL_TO_PASS=[]), "FAIL_TO_PASS: is empty"),
    ("swe-smith", smith_row(patch="not a diff"), "patch: "),
    ("swe-smith", smith_row(FAIL_TO_PASS=["/etc/passwd.py::x"]), "'/etc/passwd.py' is no file"),
    ("swe-smith", smith_row(FAIL_TO_PASS=["TestNew"]), "nothing here knows how oauthlib/oauthlib is tested"),
    (
        "swe-smith",
        smith_row(repo="swesmith/python__mypy.e93f06ce", FAIL_TO_PASS=["a::test) or (b"]),
        "'test) or (b' is no case",
    ),
    ("swe-smith", smith_row(image_name=None), "image_name: "),
    ("r2e-gym", r2e_row(expected_output_json='{"a": "FAILED"}'), "no test is to pass"),
    ("r2e-gym", r2e_row(expected_output_json="{"), "expected_output_json: neither an object"),
    ("r2e-gym", r2e_row(parsed_commit_content='{"file_diffs": []}'), "file_diffs"),
    ("r2e-gym", r2e_row(expected_output_json='{"TestShelf.test_none": "PASSED"}'), "passes before the fix"),
    ("swe-rebench", rebench_row(install_config=None), "install_config: "),
    ("swe-rebench", rebench_row(FAIL_TO_PASS=None), "FAIL_TO_PASS: "),
]


@pytest.mark.parametrize(
    ("name", "row", "why"), BROKEN, ids=[f"{name}-{why[:30]}" for name, _, why in BROKEN]
)
def test_what_is_no_task_is_rejected_with_its_name_and_the_reason(name, row, why):
    told = reason(name, row)
    assert why in told
    assert told.startswith("line 1 (")


def test_a_bad_row_costs_only_itself_and_keeps_its_number():
    result = adapted("swe-gym", gym_row(), gym_row(FAIL_TO_PASS=[]), gym_row(), gym_row(instance_id="a__b-2"))
    assert [row.instance_id for row in result.rows] == ["Project-MONAI__MONAI-1010", "a__b-2"]
    assert [(r.line, r.instance_id) for r in result.rejections] == [
        (2, "Project-MONAI__MONAI-1010"),
        (3, "Project-MONAI__MONAI-1010"),
    ]


def test_repositories_can_be_left_out_and_tasks_limited():
    rows = [
        verified_row(instance_id=f"a__b-{n}", repo="matplotlib/matplotlib" if n % 2 else "a/b")
        for n in range(8)
    ]
    result = adapted("swe-bench", *rows, without_repositories=["matplotlib/matplotlib"], limit=3)
    assert [row.instance_id for row in result.rows] == ["a__b-0", "a__b-2", "a__b-4"]
    assert result.left_out == 2


def test_a_seeded_holdout_of_a_set_shares_no_task_with_training():
    rows = adapted("swe-gym", *(gym_row(instance_id=f"a__b-{n}") for n in range(300))).rows
    one, same, other = (split_rows(rows, holdout=100, seed=seed) for seed in (0, 0, 1))
    names = {split: {row.instance_id for row in one[split]} for split in one}
    assert (len(names["train"]), len(names["holdout"])) == (200, 100)
    assert names["train"].isdisjoint(names["holdout"])
    assert one == same
    assert one != other


def test_rows_come_from_json_lines_and_from_parquet(tmp_path):
    pyarrow = pytest.importorskip(
        "pyarrow", reason="reading parquet needs pyarrow: pip install 'turnmix[swe]'"
    )
    from pyarrow import parquet

    rows = [gym_row(), gym_row(instance_id="a__b-2")]
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no JSON\n")
    table = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    for path, rejected in ((lines, 1), (table, 0)):
        settings = DatasetSettings(rows=str(path), adapter="swe-gym")
        result = adapt_rows(settings, fetch_rows(settings))
        assert (len(result.rows), len(result.rejections)) == (2, rejected)


def test_a_file_that_is_not_there_or_has_no_adapter_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        fetch_rows(DatasetSettings(rows=str(tmp_path / "rows.jsonl"), adapter="swe-gym"))
    with pytest.raises(UserError, match=r"ends in \.parquet or \.jsonl"):
        fetch_rows(DatasetSettings(rows=str(tmp_path), adapter="swe-gym"))
    with pytest.raises(UserError, match=r"tasks\.dataset\.adapter is not set"):
        adapted(None, gym_row())


def test_a_reversed_patch_takes_the_patch_back(tmp_path):
    def git(*words, **options):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True, **options
        ).stdout

    (tmp_path / "a.py").write_text("".join(f"line {n}\n" for n in range(40)))
    (tmp_path / "gone.py").write_text("x\ny")
    (tmp_path / "run.sh").write_text("echo\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    lines = [f"line {n}\n" for n in range(40)]
    lines[3:5] = ["changed\n", "and more\n", "\n"]
    lines[30:32] = []
    (tmp_path / "a.py").write_text("".join(lines) + "no end of line")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "new.py").write_text("new\n")
    (tmp_path / "run.sh").chmod(0o755)
    git("add", "-A")
    patch = git("diff", "--cached", "HEAD")
    git("commit", "-q", "-m", "two")
    git("apply", "--index", "-", input=reversed_patch(patch))
    assert git("diff", "--cached", "HEAD~1") == ""
    assert reversed_patch(reversed_patch(patch)) == patch


ODD_LINES = {
    "form feed and other ends of lines that git knows not": (
        "a\x0cb\nc\x0b\u2028d\r\ne\x85\x1c\rf\n",
        "a\x0cb\nc\x0b\u2028D\r\ne\x85\x1c\rf\n",
    ),
    "a form feed alone on its line": ("a\n\x0c\nb\n", "a\n\x0c\nc\n"),
    "signs behind a form feed": ("a\x0c-b\x0c+c\n1\n", "a\x0c-b\x0c+c\n2\x0c-3\n"),
    "neither ends its last line": ("a\nb", "A\nb"),
    "the old one does not end its last line": ("a\nb", "a\nb\n"),
    "the new one does not end its last line": ("a\nb\n", "a\nb"),
    "lines added to an unended one": ("a\nb", "a\nb\nc\nd"),
    "a carriage return at the end": ("a\nb\r", "c\nb\r"),
}


@pytest.mark.parametrize(("old", "new"), ODD_LINES.values(), ids=ODD_LINES)
def test_patches_keep_lines_as_git_has_them(tmp_path, old, new):
    def git(*words, **options):
        return subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, **options).stdout

    path = tmp_path / "a.py"
    contents = [text.encode() for text in (old, new)]
    path.write_bytes(contents[0])
    git("init", "-q")
    git("add", "-A")
    path.write_bytes(contents[1])
    patch = git("diff", "--no-color").decode()
    git("apply", "--whitespace=nowarn", "-", input=reversed_patch(patch).encode(), check=True)
    assert path.read_bytes() == contents[0]
    assert reversed_patch(reversed_patch(patch)) == patch
    row = r2e_row()
    change = {"header": {"file": {"path": "a.py"}}, "old_file_content": old, "new_file_content": new}
    made = task("r2e-gym", {**row, "parsed_commit_content": {"file_diffs": [change]}}).gold_patch
    assert made.partition("\n@@")[2] == patch.partition("\n@@")[2]
    git("apply", "--whitespace=nowarn", "-", input=made.encode(), check=True)
    assert path.read_bytes() == contents[1]


def test_a_set_to_evaluate_on_is_not_trained_on(request):
    recipe = str(request.config.rootpath / "recipes" / "swe_bench_verified.yaml")
    with pytest.raises(UserError, match=r"tasks\.holdout = all"):
        train(words=[recipe], run=None, resume=None, printed=None)
