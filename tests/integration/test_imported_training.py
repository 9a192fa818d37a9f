"""`turnmix train sft data.messages=...`: trajectories from elsewhere are learned, with no sandbox, tasks or teacher."""

import json

import pytest

from chat_rows import ADD, adding_messages, adding_row, call
from turnmix.cli import main
from turnmix.store.run_directory import RunDirectory


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A machine without bubblewrap: no program is found here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_file_is_learned_in_parts_and_what_cannot_be_taught_is_counted(folder, capsys):
    rows = [adding_row(number) for number in range(4)]
    rows[0]["messages"][2]["tool_calls"] = [call("subtract", a=1)]
    in_text = {"role": "assistant", "content": "<function=add>\n<parameter=a>1</parameter>\n</function>"}
    rows[1] = {"messages": [*adding_messages()[:2], in_text]}
    write(folder / "mine.jsonl", rows)
    assert main(["train", "sft", "data.messages=mine.jsonl", "iterations=2", "--run", "run"]) == 0
    told = capsys.readouterr().out
    assert "2 trajectories taken in, " in told
    assert "Left out of the labels: unknown tool 1." in told
    run = RunDirectory.read(folder / "run")
    assert sorted(each.task_id for each in run.trajectories.read(run.trajectories.ids)) == [
        f"mine-{line}" for line in range(1, 5)
    ]
    trained = [run.stage_metrics("train", iteration) for iteration in (1, 2)]
    assert sum(figures["labels"] for figures in trained) == 6
    assert run.stage_metrics("evaluate", 2) is None
    assert run.last_checkpoint() == 2
    (folder / "mine.jsonl").unlink()  # the run holds what it learns
    assert main(["train", "--resume", "run"]) == 0
    assert json.loads((folder / "run" / "summary.json").read_text())["is_complete"]
    assert main(["evaluate", "run"]) == 2
    assert "evaluation.tasks: 0: nothing is evaluated: name a recipe with tasks" in capsys.readouterr().err


def test_a_bad_row_is_told_before_anything_is_made_by_the_doctor_too(folder, capsys):
    write(folder / "mine.jsonl", [adding_row(), {"messages": adding_messages()}])
    complaint = "data.messages: mine.jsonl, line 2: tools: is missing, though tools are called"
    assert main(["train", "sft", "data.messages=mine.jsonl", "--run", "run"]) == 2
    assert complaint in capsys.readouterr().err
    assert not (folder / "run").exists()
    assert main(["doctor", "sft", "data.messages=mine.jsonl"]) == 1
    assert f"FAIL data, error: {complaint}" in capsys.readouterr().out
    (folder / "tools.json").write_text(json.dumps([ADD]))
    assert main(["doctor", "sft", "data.messages=mine.jsonl", "data.tools=tools.json"]) == 0
    assert "2 trajectories, of which 4 turns are to learn" in capsys.readouterr().out


def test_only_rows_that_say_they_are_resolved_are_kept_where_that_is_asked(folder):
    write(folder / "mine.jsonl", [adding_row(1, resolved=True), adding_row(2, resolved=False), adding_row(3)])
    assert main(["train", "sft", "data.messages=mine.jsonl", "data.filter=resolved", "--run", "run"]) == 0
    figures = RunDirectory.read(folder / "run").stage_metrics("train", 1)
    assert (figures["kept"], figures["dropped"]) == (1, 2)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "data.messages: names no file: give one or more, such as data.messages=mine.jsonl"),
        (["data.messages=none.jsonl"], "data.messages: none.jsonl is not there"),
        (
            ["data.messages=mine.jsonl", "method=dagger"],
            "data.messages: dagger learns in states that its student",
        ),
        (
            ["data.messages=mine.jsonl", "evaluation.tasks=5"],
            "evaluation.tasks: 5: data.messages names no tasks",
        ),
        (
            ["data.messages=null", "data.tools=t.json"],
            "data.tools: 't.json': describes tools of data.messages",
        ),
    ],
)
def test_a_recipe_that_imports_nothing_is_one_line(folder, capsys, words, complaint):
    write(folder / "mine.jsonl", [adding_row()])
    assert main(["train", "sft", *words, "--run", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert not (folder / "run").exists()


def test_a_runs_own_sft_and_its_exported_rows_give_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rollouts = ["iterations=1", "rollouts.tasks_per_iteration=3", "evaluation.tasks=0"]
    assert main(["train", "minirepo_sft", *rollouts, "--run", "own"]) == 0
    assert RunDirectory.read(tmp_path / "own").evaluations.ids == ()
    assert main(["export", "own", "--to", "messages", "--resolved", "--output", "rows.jsonl"]) == 0
    learner = [
        "learner.learning_rate=1e-3",
        "learner.schedule=cosine",
        "learner.batch_size=8",
        "learner.epochs=2",
    ]
    assert main(["train", "sft", "data.messages=rows.jsonl", *learner, "--run", "imported"]) == 0
    own, imported = (
        (tmp_path / run / "checkpoints/iteration-001/model.safetensors").read_bytes()
        for run in ("own", "imported")
    )
    assert own == imported
