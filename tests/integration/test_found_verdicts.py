"""Verdicts that come with predictions, or with an evaluation, count for nothing, or are called what they are."""

import hashlib
import json
import re
import shutil

import pytest
import yaml
from scaffold_in_sandbox import needs_sandbox
from test_archive_protection import FLAT, row_of

from turnmix.cli.command_line import main
from turnmix.core.errors import UserError
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.environments.repositories.archive.files import store_archive
from turnmix.environments.repositories.task_file import write_rows
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.store.verdict_book import VerdictBook

pytestmark = needs_sandbox


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as a stranger may give it: predictions that resolve nothing, their tasks, and verdicts."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "found"
    path.mkdir()
    row = row_of(FLAT)
    row = row.model_copy(update={"archive": store_archive(path / "tasks.jsonl", FLAT)})
    write_rows(path / "tasks.jsonl", [row])
    wrong = row.gold_patch.replace("+    return a + b", "+    return a * b")
    line = {"instance_id": row.instance_id, "model_name_or_path": "x", "model_patch": wrong}
    (path / "predictions.jsonl").write_text(json.dumps(line) + "\n")
    return path


def graded(capsys, folder, *words):
    code = main(["grade", str(folder / "predictions.jsonl"), str(folder / "tasks.jsonl"), *map(str, words)])
    captured = capsys.readouterr()
    return code, " ".join((captured.out + captured.err).split())


def forged(folder, key):
    line = {
        "instance_id": "calc-1",
        "key": key,
        "resolved": True,
        "submitted": True,
        "passed": 1,
        "failed": 0,
    }
    (folder / "predictions.jsonl.verdicts.jsonl").write_text(json.dumps({**line, "patch": "x"}) + "\n")


def key_of(folder):
    """The key under which earlier versions looked for a verdict in the file beside the predictions."""
    from turnmix.core.json_text import json_text
    from turnmix.environments.repositories.task_file import load_rows

    (row,) = load_rows(folder / "tasks.jsonl")
    patch = json.loads((folder / "predictions.jsonl").read_text())["model_patch"].encode()
    conditions = json_text({"sandbox": BubblewrapSettings().conditions(), "reader": ""}, sort_keys=True)
    return hashlib.sha256(
        b"\0".join([row.model_dump_json().encode(), conditions.encode(), patch])
    ).hexdigest()


def test_a_verdict_that_lies_beside_the_predictions_is_not_read(folder, capsys):
    forged(folder, key_of(folder))
    code, said = graded(capsys, folder)
    assert code == 0
    assert "resolved: 0 of 1" in said
    assert "was there before; it is not read" in said
    (line,) = (folder / "predictions.jsonl.verdicts.jsonl").read_text().splitlines()
    assert json.loads(line)["resolved"] is False


def test_verdicts_made_before_are_counted_and_made_again_where_that_is_asked(folder, capsys, tmp_path):
    assert "found in" not in graded(capsys, folder)[1]
    said = graded(capsys, folder)[1]
    assert f"1 of 1 verdicts found in {tmp_path}/state/turnmix/verdicts/" in said
    assert "and not made now: --again" in said
    assert json.loads((folder / "predictions.jsonl.verdicts.jsonl").read_text())["found"] is True
    (kept,) = (tmp_path / "state" / "turnmix" / "verdicts").glob("*/*.json")
    kept.write_text(kept.read_text().replace('"resolved": false', '"resolved": true'))
    assert "resolved: 1 of 1" in graded(capsys, folder)[1]  # whoever writes there is the user
    assert "resolved: 0 of 1" in graded(capsys, folder, "--again")[1]
    assert "resolved: 0 of 1" in graded(capsys, folder)[1]


def test_verdicts_are_kept_where_the_user_says(folder, capsys, tmp_path):
    chosen = ("--verdicts", tmp_path / "mine")
    assert "found in" not in graded(capsys, folder, *chosen)[1]
    assert f"found in {tmp_path}/mine" in graded(capsys, folder, *chosen)[1]
    assert "found in" not in graded(capsys, folder)[1]
    (tmp_path / "file").write_text("")
    code, said = graded(capsys, folder, "--verdicts", tmp_path / "file")
    assert code == 2
    assert "--verdicts" in said


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"resolved": 1}', "[" * 999,
                                     '{"resolved": "yes", "submitted": true, "passed": 1, "failed": 0}'])  # fmt: skip
def test_a_damaged_verdict_is_made_again(tmp_path, content):
    book = VerdictBook.open(str(tmp_path), predictions=tmp_path / "x")
    verdict = patch_verdict(resolved=True, submitted=True, passed=1, failed=0, set_aside=("x",))
    book.keep("ab12", verdict)
    assert book.find("ab12") == verdict
    (tmp_path / "ab12.json").write_text(content)
    assert book.find("ab12") is None


def test_a_book_that_the_user_names_and_that_cannot_be_written_is_said(tmp_path):
    book = VerdictBook.open(str(tmp_path / "book"), predictions=tmp_path / "x")
    (tmp_path / "book" / "ab12.json").mkdir()
    with pytest.raises(UserError, match="--verdicts"):
        book.keep("ab12", patch_verdict(resolved=True, submitted=True, passed=1, failed=0))


def test_an_evaluation_says_how_much_of_it_was_found_and_by_whom_it_was_made(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = {"extends": "minirepo_dagger", "evaluation": {"tasks": 2}, "scaffold": {"max_turns": 2}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(recipe))

    def said(directory):
        assert main(["evaluate", "teacher", "small.yaml", "--output", directory]) == 0
        return " ".join(capsys.readouterr().out.split())

    assert "were found in" not in said("a")
    assert "2 of 2 trajectories and their verdicts were found in a, and not made now: --output makes" in said(
        "a"
    )
    assert "made_elsewhere" not in json.loads((tmp_path / "a" / "results.json").read_text())
    shutil.copytree("a", "b")
    log = tmp_path / "b" / "evaluations.jsonl"
    log.write_text(re.sub('"resolved": ?false', '"resolved":true', log.read_text()))
    again = said("b")
    assert "were found in b, which was not made by you on this machine" in again
    assert json.loads((tmp_path / "b" / "results.json").read_text())["made_elsewhere"] == 2
