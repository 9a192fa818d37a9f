"""Tables and lines of figures."""

import io
import json

import pytest
from rich.console import Console

from turnmix.cli.show import show_run
from turnmix.viewing.console import make_progress
from turnmix.viewing.report import stage_text, summary_table
from turnmix.viewing.run_warnings import run_warnings, stage_warnings

ROLLOUT = {"resolved": 480, "rollouts": 512, "beta": 0.8, "realised_beta": 0.79, "infra_errors": 2}
EVALUATION = {"resolved": 1000, "n": 1000, "low": 0.9962, "high": 1.0}
ROW = {
    "iteration": 10,
    "beta": None,
    "realised_beta": 0.7912,
    "rollouts": 512,
    "resolved": 480,
    "infra_errors": 2,
    "labels": 123456,
    "loss": 0.1234,
    "eval": EVALUATION,
}


def test_a_stage_is_one_line_and_infra_errors_are_named():
    assert stage_text("rollout", 2, ROLLOUT, 31.0) == (
        "iteration 2   rollout   480 of 512 resolved, β 0.80, teacher's share 0.79, 2 infra errors, 31.0 s"
    )
    train = {"labels": 0, "kept": 0, "first_epoch_loss": None, "loss": None}
    assert (
        stage_text("train", 2, train, None)
        == "iteration 2   train     0 labels of 0 trajectories, loss – → –"
    )
    assert stage_text("evaluate", 0, EVALUATION, 5.0).startswith(
        "base student  evaluate  holdout resolved 1000/1000"
    )


def test_the_table_fits_80_columns_and_shows_what_was_not_computed_as_a_dash():
    summary = {"base": EVALUATION, "iterations": [ROW, {**ROW, "eval": None, "labels": None, "loss": None}]}
    out = io.StringIO()
    Console(file=out, width=80).print(summary_table(summary))
    lines = out.getvalue().rstrip("\n").split("\n")
    assert len(lines) == 5
    assert lines[3].split() == (
        ["10", "–", "0.79", "480/510", "123,456", "0.123", "1000/1000", "100", "%", "[100,", "100]"]
    )
    assert lines[4].split()[-3:] == ["–", "–", "–"]
    assert max(map(len, lines)) <= 80


def test_what_was_left_out_of_the_labels_has_a_column_and_a_place_in_the_line_where_there_is_any():
    train = {
        "labels": 9,
        "kept": 3,
        "first_epoch_loss": 1.0,
        "loss": 0.5,
        "untaught": {"stop_token_inside": 1},
    }
    told = stage_text("train", 2, train, None)
    assert "9 labels of 3 trajectories, 1 left out (stop token inside 1), loss" in told
    summary = {"base": EVALUATION, "iterations": [{**ROW, "labels": 1500, "untaught": {"unknown_tool": 12}}]}
    out = io.StringIO()
    Console(file=out, width=80).print(summary_table(summary))
    lines = out.getvalue().rstrip("\n").split("\n")
    assert lines[3].split()[4:7] == ["1,500", "12", "0.123"]
    assert max(map(len, lines)) <= 80


def test_the_teachers_share_of_what_was_kept_is_said_where_the_filter_dropped_something():
    train = {"labels": 9, "kept": 3, "first_epoch_loss": 1.0, "loss": 0.5, "realised_beta_kept": 0.684}
    told = stage_text("train", 2, {**train, "dropped": 1}, None)
    assert "9 labels of 3 trajectories, teacher's share 0.68 of these, loss" in told
    assert "share" not in stage_text("train", 2, {**train, "dropped": 0}, None)


def test_tokens_that_are_clipped_before_anything_is_learned_are_said():
    figures = {"labels": 5, "kept": 4, "untaught": {}, "objective": {"first_step_clip_share": 0.031}}
    (said,) = stage_warnings("train", 1, figures)
    assert said.startswith("iteration 1: 3.1 % of the tokens were clipped at the first step")
    figures["objective"] = {"first_step_clip_share": 0.001}
    assert stage_warnings("train", 1, figures) == []


PASSES = {
    **{"budget_rows": 8192, "ranks": 1, "rows": 80_000, "repeated_rows": 0, "idle_rows": 0},
    **{"largest_rows": 8000, "longest_rows": 5000, "largest_tree_rows": 9000},
}


def test_rows_that_are_computed_again_are_said_with_the_setting_to_change():
    figures = {"labels": 5, "kept": 4, "untaught": {}, "objective": {}, "passes": PASSES}
    assert stage_warnings("train", 1, figures) == []
    (split,) = stage_warnings("train", 1, {**figures, "passes": {**PASSES, "repeated_rows": 10_000}})
    assert "14 % of the trees' rows were computed again" in split
    assert "learner.tokens_per_pass=8192: 9000 repeats none" in split
    (idle,) = stage_warnings("train", 1, {**figures, "passes": {**PASSES, "idle_rows": 30_000, "ranks": 3}})
    assert "1.6 times the rows of all trees were computed" in idle
    assert "set learner.batch_size to a multiple of 3" in idle


def test_passes_larger_than_the_budget_are_said_once_in_a_run():
    figures = {
        **{"labels": 5, "kept": 4, "dropped": 0, "untaught": {}, "objective": {}},
        **{
            "first_epoch_loss": 1.0,
            "loss": 0.5,
            "passes": {**PASSES, "largest_rows": 69_052, "longest_rows": 63_539},
        },
    }
    console = Console(file=io.StringIO(), width=1000)
    with make_progress(console, seconds=lambda stage: None) as progress:
        for iteration in (1, 2):
            progress.end("train", iteration, figures)
    rows = [{**figures, "iteration": iteration} for iteration in (1, 2)]
    for said in (console.file.getvalue(), "\n".join(run_warnings({"iterations": rows}))):
        assert said.count("passes have up to 69,052 rows, more than learner.tokens_per_pass 8,192") == 1
        assert "the longest transition alone has 63,539" in said


TEACHER = {"answers": 40, "calls": 0, "acted": 8, "resolved": 0}


def test_a_teacher_of_whom_nothing_comes_is_said_loudly():
    called, resolved = stage_warnings("rollout", 1, {"teacher": TEACHER})
    assert called.startswith("iteration 1: the teacher called no tool in 40 answers")
    assert resolved.startswith("iteration 1: none of the 8 rollouts in which the teacher acted is resolved")
    assert stage_warnings("rollout", 1, {"teacher": {**TEACHER, "calls": None, "resolved": 1}}) == []
    assert stage_warnings("rollout", 1, {"teacher": None}) == stage_warnings("rollout", 1, {}) == []


def test_rollouts_that_ran_out_of_time_are_said_where_they_are_many():
    (late,) = stage_warnings("rollout", 1, {"rollouts": 40, "stop_reasons": {"finished": 37, "wall_time": 3}})
    assert "3 of 40 rollouts ran out of time" in late
    assert "scaffold.wall_seconds" in late
    assert stage_warnings("rollout", 1, {"rollouts": 40, "stop_reasons": {"wall_time": 2}}) == []


def test_a_stage_without_labels_says_why():
    figures = {"labels": 0, "kept": 0, "untaught": {}, "objective": {}}
    assert "the filter kept no trajectory" in stage_warnings("train", 1, figures)[0]
    figures["kept"] = 4
    assert "no visited state has a target" in stage_warnings("train", 1, figures)[0]
    figures["dropped_too_long"] = 3
    assert "3 transitions are longer than learner.max_context" in stage_warnings("train", 1, figures)[0]
    few = {"labels": 95, "kept": 4, "untaught": {"unknown_tool": 5}, "objective": {}}
    assert stage_warnings("train", 1, few) == []
    assert (
        "6 of 100 targets (6 %)" in stage_warnings("train", 1, {**few, "labels": 94, "untaught": {"a": 6}})[0]
    )


def test_a_run_in_which_nothing_is_learned_says_so_while_it_goes_on_and_when_it_is_shown(tmp_path, capsys):
    figures = {
        **{"labels": 0, "kept": 2, "dropped": 0, "first_epoch_loss": None, "loss": None, "objective": {}},
        "untaught": {"empty_answer": 8},
    }
    console = Console(file=io.StringIO(), width=80)
    with make_progress(console, seconds=lambda stage: None) as progress:
        progress.end("train", 3, figures)
    said = console.file.getvalue()
    assert "WARNING: iteration 3: 0 labels, so nothing was learned: every target is malformed" in said
    assert "8 of 8 targets (100 %) are not taught: empty answer 8; untaught.json" in said

    row = {**ROW, **figures, "iteration": 3, "teacher": TEACHER}
    summary = {"method": "sft", "seed": 0, "is_complete": False, "wall_seconds": 1.0, "base": None}
    (tmp_path / "summary.json").write_text(json.dumps({**summary, "iterations": [row], "drift": {}}))
    (tmp_path / "recipe.yaml").write_text("")
    show_run(str(tmp_path))
    shown = capsys.readouterr().out
    for text in ("the teacher called no tool", "none of the 8 rollouts", "0 labels", "8 of 8 targets"):
        assert shown.count(text) == 1
    assert "Left out of the labels: empty answer 8. An example of each lies in untaught.json." in shown


def test_where_lines_are_plain_the_loss_is_told_from_the_first_optimiser_step_on():
    console = Console(file=io.StringIO(), width=80)
    with make_progress(console, seconds=lambda stage: None) as progress:
        progress.begin("train", 1, total=36, done=0)
        progress.advance("train", 1, done=1, note="loss 0.345, at first 0.345")
        progress.advance("train", 1, done=2, note="loss 0.245, at first 0.345")
        progress.begin("evaluate", 0, total=200, done=32)
    assert console.file.getvalue().splitlines() == [
        "iteration 1   train     1/36, loss 0.345, at first 0.345",
        "base student  evaluate  32/200 found on disk",
    ]


def test_stages_of_an_analysis_stand_in_one_column(monkeypatch):
    monkeypatch.setattr("turnmix.viewing.console.PLAIN_LINE_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=80)
    with make_progress(console, seconds=lambda stage: None) as progress:
        for stage, note in (("own", "5 resolved"), ("teacher scores", ""), ("judge", "")):
            progress.begin(stage, 3, total=200, done=0)
            progress.advance(stage, 3, done=7, note=note)
    assert console.file.getvalue().splitlines() == [
        "iteration 3   own            7/200, 5 resolved",
        "iteration 3   teacher scores 7/200",
        "iteration 3   judge          7/200",
    ]


def test_lines_of_stages_beside_each_other_each_name_their_own(monkeypatch):
    monkeypatch.setattr("turnmix.viewing.console.PLAIN_LINE_SECONDS", 0.0)
    monkeypatch.setattr("turnmix.viewing.console.PLAIN_STEP_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=80)
    with make_progress(console, seconds=lambda stage: None) as progress:
        progress.begin("train", 1, total=36, done=0)
        progress.begin("evaluate", 0, total=200, done=0)
        progress.advance("train", 1, done=1, note="loss 0.345")
        progress.advance("evaluate", 0, done=7, note="5 resolved")
        progress.advance("train", 1, done=2, note="loss 0.245")
    assert console.file.getvalue().splitlines() == [
        "iteration 1   train     1/36, loss 0.345",
        "base student  evaluate  7/200, 5 resolved",
        "iteration 1   train     2/36, loss 0.245",
    ]


def test_a_notebook_shows_one_text_that_is_written_over_and_no_terminals_codes(monkeypatch):
    capture = pytest.importorskip("IPython.utils.capture")
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setattr("turnmix.viewing.console.CELL_SECONDS", 0.0)
    InteractiveShell.instance()
    console = Console(force_jupyter=True, width=80)
    with capture.capture_output() as shown, make_progress(console, seconds=lambda stage: 2.0) as progress:
        progress.begin("train", 1, total=36, done=0)
        progress.begin("evaluate", 0, total=200, done=0)
        progress.advance("train", 1, done=2, note="loss 0.245, \x1b[2Jat first 0.345")
        progress.end("evaluate", 0, {"resolved": 5, "n": 10, "low": 0.2, "high": 0.7, "unfinished": 0})
    InteractiveShell.clear_instance()
    assert shown.stdout == ""
    first, *_, last = [each.data["text/plain"] for each in shown.outputs]
    assert first == ""
    finished, under_way = last.splitlines()
    assert finished.startswith("base student  evaluate  holdout resolved 5/10")
    assert under_way == "iteration 1   train     2/36, loss 0.245, \\x1b[2Jat first 0.345"
