"""A run's trajectories leave as rows of messages and as Inspect's logs, and come back as they were."""

import json
import os
import subprocess
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

import branching
from counting_run import UNREADABLE, counting_run
from turnmix.cli import main
from turnmix.exchange.imported import import_trajectories
from turnmix.methods.targets import executed_action, imitate, teacher_label
from turnmix.store.run_directory import RunDirectory

INSPECT = os.environ.get("TURNMIX_INSPECT_PYTHON")
"""The Python of an environment that has inspect_ai, whose dependencies other packages of the tests do not bear."""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    return counting_run(tmp_path_factory.mktemp("counted") / "run")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(run):
    log = RunDirectory.read(run).trajectories
    return list(log.read(log.ids_of("i001")))


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def taught(trajectories, target):
    return [
        (each.state, each.target.message, each.task_id) for each in imitate(trajectories, target).transitions
    ]


def imported(name):
    return import_trajectories([name], tools=None, iterations=1, seed=0)


def test_executed_paths_come_back_as_the_transitions_that_the_runs_own_sft_has(counted, folder, capsys):
    assert main(["export", str(counted), "--to", "messages", "--output", "out/paths.jsonl"]) == 0
    assert "4 trajectories in out/paths.jsonl" in capsys.readouterr().out
    expected = taught(stored(counted), executed_action)
    assert expected
    assert taught(imported("out/paths.jsonl"), executed_action) == expected


def test_lines_of_turns_are_told_apart_from_their_trajectories(folder, capsys):
    with closing(RunDirectory.create(folder / "run", recipe_yaml="")) as run:
        for name in ("i001-00000", "i001-00001"):
            run.trajectories.append(branching.with_sub_agent().trajectory(id=name))
    assert main(["export", "run", "--to", "messages", "--output", "paths.jsonl"]) == 0
    assert len(rows_of("paths.jsonl")) == 4
    assert "4 lines of turns of 2 trajectories in paths.jsonl" in capsys.readouterr().out


def test_what_no_student_should_learn_is_marked_in_an_executed_path(counted, folder):
    assert main(["export", str(counted), "--to", "messages", "--output", "paths.jsonl"]) == 0
    messages = [message for row in rows_of("paths.jsonl") for message in row["messages"]]
    unlearned = [message for message in messages if message.get("weight") == 0]
    assert unlearned
    assert {message["content"] for message in unlearned} == {UNREADABLE.message.content, ""}
    befell = [call["function"]["arguments"] for each in unlearned for call in each.get("tool_calls", ())]
    assert befell == [{"amount": 100}] * 4
    row = rows_of("paths.jsonl")[0]
    assert row["tools"][0]["function"]["name"] == "add"
    assert (row["trajectory_id"], row["iteration"], row["stop_reason"]) == ("i001-00000", 1, "finished")
    assert len(row["actors"]) == sum(message["role"] == "assistant" for message in row["messages"])


def test_labels_come_back_as_the_transitions_that_dagger_has_student_states_included(counted, folder, capsys):
    assert main(["export", str(counted), "--to", "messages", "--labels", "--output", "labels.jsonl"]) == 0
    expected = taught(stored(counted), teacher_label)
    assert f"{len(expected)} labels, each with its state, in labels.jsonl" in capsys.readouterr().out
    assert {row["actor"] for row in rows_of("labels.jsonl")} == {"student", "teacher", "accident"}
    assert taught(imported("labels.jsonl"), executed_action) == expected


def test_some_of_the_trajectories_may_be_asked_for_and_those_of_evaluations(counted, folder):
    resolved = sum(each.verdict.resolved for each in stored(counted))
    assert resolved > 0
    assert main(["export", str(counted), "--to", "messages", "--resolved", "--output", "r.jsonl"]) == 0
    assert [row["resolved"] for row in rows_of("r.jsonl")] == [True] * resolved
    assert main(["export", str(counted), "--to", "messages", "--evaluations", "--output", "e.jsonl"]) == 0
    assert {row["trajectory_id"][0] for row in rows_of("e.jsonl")} == {"e"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--to", "xml"], "--to: invalid choice: 'xml' (choose from "),
        (["--to", "inspect", "--labels"], "--labels: is for --to messages: leave it out"),
        (["--to", "messages", "--iteration", "3"], "holds no such trajectories: nothing was written"),
        (["--to", "messages", "--labels", "--evaluations"], "holds no labels, as methods without"),
        (
            ["--to", "messages", "--output", "there"],
            "--output there: something is there already: name another",
        ),
        (
            ["--to", "inspect", "--output", "there"],
            "--output there: something is there already: name another",
        ),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(counted, folder, capsys, words, complaint):
    (folder / "there").touch()
    try:
        code = main(["export", str(counted), *words])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert [path.name for path in folder.iterdir()] == ["there"]


def test_a_log_for_inspect_holds_a_sample_a_trajectory_with_scores_and_what_the_teacher_would_do(
    counted, folder, capsys
):
    assert main(["export", str(counted), "--to", "inspect", "--output", "logs"]) == 0
    assert "2 logs in logs" in capsys.readouterr().out
    evaluation, rollouts = (json.loads(path.read_text()) for path in sorted((folder / "logs").iterdir()))
    assert [log["eval"]["task"] for log in (evaluation, rollouts)] == ["evaluate-001", "rollout-001"]
    # A stage whose figures are not recorded is under way.
    assert [log["status"] for log in (evaluation, rollouts)] == ["started", "success"]
    first = stored(counted)[0]
    sample = rollouts["samples"][0]
    assert (sample["id"], sample["metadata"]["trajectory"]) == (first.task_id, first.id)
    assert sample["scores"]["resolved"]["value"] == ("C" if first.verdict.resolved else "I")
    told = [message["metadata"] for message in sample["messages"] if message["role"] == "assistant"]
    assert [each["actor"] for each in told] == [turn.actor for turn in first.turns]
    assert any("teacher_would" in each for log in rollouts["samples"] for each in _told(log))
    (score,) = rollouts["results"]["scores"]
    resolved = [each.verdict.resolved for each in stored(counted)]
    assert score["metrics"]["accuracy"]["value"] == sum(resolved) / len(resolved)
    assert datetime.fromisoformat(rollouts["eval"]["created"])


def _told(sample):
    return [message["metadata"] for message in sample["messages"] if message["role"] == "assistant"]


@pytest.mark.skipif(INSPECT is None, reason="TURNMIX_INSPECT_PYTHON names no Python that has inspect_ai")
def test_inspects_own_reader_opens_the_logs(counted, folder):
    assert main(["export", str(counted), "--to", "inspect", "--output", "logs"]) == 0
    code = """
import json
from inspect_ai.log import list_eval_logs, read_eval_log

for each in sorted(list_eval_logs("logs"), key=lambda info: info.name):
    log = read_eval_log(each)
    sample = log.samples[0]
    print(json.dumps([
        log.eval.task, log.status, len(log.samples), log.results.scores[0].metrics["accuracy"].value,
        sample.scores["resolved"].value, [message.role for message in sample.messages],
        [call.arguments for message in sample.messages for call in getattr(message, "tool_calls", None) or []],
    ]))
"""
    done = subprocess.run([INSPECT, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    evaluation, rollouts = map(json.loads, done.stdout.splitlines())
    trajectories = stored(counted)
    first = trajectories[0]
    assert evaluation[:3] == ["evaluate-001", "started", 4]
    assert rollouts == [
        "rollout-001",
        "success",
        len(trajectories),
        sum(each.verdict.resolved for each in trajectories) / len(trajectories),
        "C" if first.verdict.resolved else "I",
        [message.role for message in first.state(len(first.turns)).messages],
        [dict(call.arguments) for turn in first.turns for call in turn.action.message.tool_calls],
    ]
