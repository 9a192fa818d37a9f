"""Task files: every bad row is named with its reason, archives are what their names say, the holdout is closed."""

import json

import pytest

from turnmix.cli.make_tasks import training_advice
from turnmix.core.errors import UserError
from turnmix.environments.repositories.archive import execution, patch
from turnmix.environments.repositories.archive.execution import read_report
from turnmix.environments.repositories.archive.files import load_archive, pack_tree, store_archive
from turnmix.environments.repositories.archive.repository import counted
from turnmix.environments.repositories.grading import unjudged
from turnmix.environments.repositories.source import TaskFileSettings, TaskFileSource
from turnmix.environments.repositories.task_file import TaskRow, load_rows, read_rows, split_rows, write_rows
from turnmix.scaffold.scaffold import ScaffoldSettings

ROW = {
    "instance_id": "owner__name-1",
    "source": "hand",
    "repository": "owner/name",
    "image": "image:1",
    "problem_statement": "It is broken.",
    "gold_patch": "diff --git a/x b/x\n",
    "fail_to_pass": ["tests/test_x.py::test_a"],
    "pass_to_pass": ["tests/test_x.py::test_b"],
    "test_command": "pytest",
    "evaluation_script": "pytest",
}
WRONG = {
    "fail_to_pass: Tuple should have at least 1 item": {"fail_to_pass": []},
    "fail_to_pass: Input should be a valid tuple": {"fail_to_pass": "[]"},
    "give either archive or image": {"image": None},
    "instance_id: String should match pattern": {"instance_id": "../x"},
    "archive: String should match pattern": {"image": None, "archive": "../secret.tar.gz"},
    "is not there": {"image": None, "archive": f"archives/{'0' * 64}.tar.gz"},
    "gold_patch: String should have at least 1 character": {"gold_patch": ""},
    "is in fail_to_pass and in pass_to_pass": {"pass_to_pass": ROW["fail_to_pass"]},
    "working_directory: String should match pattern": {"working_directory": "testbed"},
    "colour: Extra inputs are not permitted": {"colour": "red"},
}


def make_rows(number):
    return [TaskRow.model_validate({**ROW, "instance_id": f"task-{index}"}) for index in range(number)]


@pytest.mark.parametrize(("reason", "change"), WRONG.items(), ids=WRONG)
def test_a_bad_row_is_named_with_its_line_its_id_and(tmp_path, reason, change):
    path = tmp_path / "tasks.jsonl"
    bad = {**ROW, "instance_id": "bad", **change}
    path.write_text(f"{json.dumps(ROW)}\n\n{json.dumps(bad)}\n")
    rows, (rejection,) = read_rows(path)
    assert [row.instance_id for row in rows] == ["owner__name-1"]
    assert str(rejection).startswith(f"line 3 ({bad['instance_id']}): ")
    assert reason in rejection.reason
    with pytest.raises(UserError, match="line 3"):
        load_rows(path)


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff\xfe", b'"x"', b"[" * 100_000], ids=range(5))
def test_a_line_that_is_no_row_is_rejected(tmp_path, line):
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(line + b"\n")
    rows, rejections = read_rows(path)
    assert rows == []
    assert [rejection.instance_id for rejection in rejections] == ["no instance_id"]


def test_an_id_is_taken_once(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text(2 * f"{json.dumps(ROW)}\n")
    rows, (rejection,) = read_rows(path)
    assert len(rows) == 1
    assert rejection.reason == "instance_id: another row has it too"


def test_an_empty_file_and_a_missing_one_are_the_users_mistake(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    for name in ("empty.jsonl", "missing.jsonl"):
        with pytest.raises(UserError, match=name):
            load_rows(tmp_path / name)
    with pytest.raises(
        UserError, match=r"write it with `turnmix tasks prepare RECIPE`.* `turnmix tasks make`"
    ):
        load_rows(tmp_path / "missing.jsonl")


@pytest.mark.parametrize(
    ("number", "fix"),
    [(100, "set it to less than 100, such as 20"), (2, "set it to less than 2, such as 1"), (1, "make more")],
)
def test_a_holdout_that_leaves_no_task_to_train_on_is_refused_with_one_that_would_do(tmp_path, number, fix):
    write_rows(tmp_path / "tasks.jsonl", make_rows(number))
    with pytest.raises(UserError, match=rf"^tasks.holdout = 100: .* holds {number} tasks, .*: {fix}"):
        TaskFileSource(
            TaskFileSettings(path=tmp_path / "tasks.jsonl"), make_sandbox=None, scaffold=ScaffoldSettings()
        )


@pytest.mark.parametrize(("number", "held_out"), [(10, 2), (9, 1), (2, 1)])
def test_how_to_train_on_made_tasks_is_said_with_a_holdout_that_the_training_takes(
    tmp_path, number, held_out
):
    path = tmp_path / "tasks.jsonl"
    write_rows(path, make_rows(number))
    assert training_advice(path, number).endswith(f"tasks.holdout={held_out}")
    settings = TaskFileSettings(path=path, holdout=held_out)
    source = TaskFileSource(settings, make_sandbox=None, scaffold=ScaffoldSettings())
    assert (len(source.tasks("train")), len(source.tasks("holdout"))) == (number - held_out, held_out)


def test_one_made_task_alone_is_not_recommended_to_train_on(tmp_path):
    assert training_advice(tmp_path / "tasks.jsonl", 1) == ""


def test_rows_come_back_as_they_were_written(tmp_path):
    rows = [*make_rows(2), TaskRow.model_validate({**ROW, "gold_patch": "é\x0c\u2028\r\n"})]
    write_rows(tmp_path / "folder" / "tasks.jsonl", rows)
    assert load_rows(tmp_path / "folder" / "tasks.jsonl") == rows


def test_the_holdout_is_of_the_given_size_shares_no_task_and_ignores_the_order():
    rows = make_rows(50)
    split = split_rows(rows, holdout=10, seed=3)
    held_out = {row.instance_id for row in split["holdout"]}
    assert len(held_out) == 10
    assert held_out.isdisjoint(row.instance_id for row in split["train"])
    assert len(split["train"]) == 40
    assert split_rows(rows[::-1], holdout=10, seed=3)["holdout"] == split["holdout"][::-1]
    assert {row.instance_id for row in split_rows(rows, holdout=10, seed=4)["holdout"]} != held_out


def test_equal_trees_give_one_archive_and_a_changed_one_is_refused(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name / ".git").mkdir(parents=True)
        (tmp_path / name / ".git" / "HEAD").write_text(name)
        (tmp_path / name / "a.py").write_text("a = 1\n")
    content = pack_tree(tmp_path / "one")
    assert content == pack_tree(tmp_path / "other")
    stored = store_archive(tmp_path / "tasks.jsonl", content)
    assert load_archive(tmp_path / "tasks.jsonl", stored) == content
    (tmp_path / stored).write_bytes((tmp_path / stored).read_bytes()[:-9])
    with pytest.raises(UserError, match="copy it"):
        load_archive(tmp_path / "tasks.jsonl", stored)


def test_a_verdict_needs_every_test_to_pass_and_a_whole_run():
    row = make_rows(1)[0]
    (failing,), (passing,) = row.fail_to_pass, row.pass_to_pass

    def resolved(outcomes, **changes):
        return counted(row, execution.Execution(outcomes=outcomes, **changes)).resolved

    assert resolved({failing: "passed", passing: "xfailed"})
    assert not resolved({failing: "passed", passing: "passed"}, is_complete=False)
    assert not resolved({failing: "passed"})
    assert not resolved({failing: "skipped", passing: "skipped"})
    assert not resolved({failing: "passed", passing: "error"})
    assert not resolved({})
    assert not unjudged(row, b"").resolved


def test_the_worse_of_two_reports_of_one_test_counts():
    lines = [b'@n {"id": "t", "outcome": "%s", "message": ""}' % word for word in (b"passed", b"error")]
    assert dict(read_report(b"\n".join(lines), "n").outcomes) == {"t": "error"}
    assert dict(read_report(b"\n".join(lines[::-1]), "n").outcomes) == {"t": "error"}


def test_the_worked_examples_hold():
    import doctest

    for module in (execution, patch):
        assert doctest.testmod(module).failed == 0
