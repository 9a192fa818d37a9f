"""One HTML file of runs: what is in it, that nothing breaks out of it, and where it may be written."""

import base64
import hashlib
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from stored_runs import analysed_run

import turnmix
from reported_runs import (
    DIFFERING,
    Elements,
    analyse,
    hostile_run,
    make_run,
    make_sweep,
    many,
    seen,
    trajectory,
)
from turnmix.cli import main
from turnmix.core.errors import UserError
from turnmix.viewing.page import selection
from turnmix.viewing.page.records import LONGEST_TEXT


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("reported") / "first")


@pytest.fixture(scope="module")
def text(run):
    output = run.parent / "report.html"
    turnmix.report(run, output=output)
    return output.read_text()


def test_a_report_answers_whether_it_helped_with_the_interval_of_the_paired_difference(text):
    assert "1 → 5 of 6 holdout tasks resolved" in text
    assert re.search(r"\+67 points \[[+-]\d+, \+\d+\]", text)


def test_a_report_holds_the_table_that_show_prints(text, run, capsys):
    assert main(["show", str(run)]) == 0
    printed = capsys.readouterr().out
    for figure in ("5/6   83 % [10, 90]", "0.44", "0.125"):
        assert figure in text
        assert figure in printed


def test_a_report_says_what_was_run(text):
    for told in (
        "2 × 144 rollouts",
        "nano-student",
        "teacher oracle",
        "1 min 2 s",
        "made by this user",
        "torch",
    ):
        assert told in text


def test_each_plot_has_a_caption_that_says_of_how_many_and_what_the_interval_is(text):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert len(captions) == 4
    assert all("interval" in caption and re.search(r"\d", caption) for caption in captions)


def test_plots_have_text_as_text_no_style_that_the_policy_refuses_and_ids_of_their_own(text):
    plots = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    ids = [each for plot in plots for each in re.findall(r' id="([^"]+)"', plot)]
    assert len(ids) == len(set(ids))
    for plot in plots:
        assert " style=" not in plot
        assert "<style" not in plot
        referred = re.findall(r'(?:href="#|url\(#)([^")]+)', plot)
        assert set(referred) <= set(ids)
    assert "holdout tasks resolved</text>" in plots[0]
    assert "stroke-s0" in plots[0]


def test_plots_are_written_as_svg_and_png_for_papers(run, tmp_path):
    assert main(["report", str(run), "-o", str(tmp_path / "r.html"), "--plots", str(tmp_path / "plots")]) == 0
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {
        f"{n}.{e}" for n in ("resolved", "teacher-share", "loss", "endings") for e in ("svg", "png")
    }
    root = ElementTree.parse(tmp_path / "plots" / "resolved.svg").getroot()
    assert root.tag.endswith("svg")


def test_the_policy_lets_nothing_run_but_the_pages_own_script(text):
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    elements = Elements(text)
    (own,) = ["".join(told) for attributes, told in elements.scripts if "type" not in attributes]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;".replace("&#x27;", "'") in policy.replace("&#x27;", "'")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not [name for name, _ in elements.attributes if name.startswith("on") or name == "src"]


def test_nothing_that_an_agent_wrote_breaks_out_of_the_page(tmp_path):
    run = hostile_run(tmp_path / "<b>$x^2$ run")
    output = turnmix.report(run, output=tmp_path / "report.html")
    text = output.read_text(encoding="utf-8")
    elements = Elements(text)
    assert len(elements.scripts) == 3
    assert not {"img", "iframe", "object", "b", "link", "form"} & set(elements.tags)
    assert not [each for each in ("\u2028", "\u202e", "\x1b", "\udc80") if each in text]
    bodies = elements.script("bodies")
    assert any("</script><script>" in told and "\\u202e" in told for told in bodies["texts"])
    assert any("\\u202e" in row[0] for row in elements.script("rows")["rows"])


def test_a_row_tells_who_acted_each_turn_and_where_the_teacher_would_have_done_something_else(text):
    elements = Elements(text)
    listed = elements.script("rows")
    assert {row[0]: row[5] for row in listed["rows"] if row[2] == listed["sets"].index("rollout")} == {
        "i001-00000": "tss",
        "i001-00001": "tSs",
        "i002-00000": "sSS",
    }
    opened = elements.script("bodies")
    place = [row[0] for row in listed["rows"]].index("i001-00001")
    body = opened["trajectories"][place]
    assert ["label" in turn for turn in body["turns"]] == [False, True, False]
    assert opened["texts"][body["turns"][1]["label"]["calls"][0][0]] == "execute_bash"


def test_a_run_that_was_only_analysed_is_told_by_its_analysis(tmp_path):
    run = analysed_run(tmp_path / "run", resolved=(True, True, True, False))
    text = turnmix.report(run, output=tmp_path / "report.html").read_text()
    assert "3 of 4 holdout tasks resolved" in text
    assert "By its analysis: the run itself evaluated nothing." in text


def test_stored_analyses_bring_plots_tables_trajectories_and_failure_modes(tmp_path):
    run = analyse(make_run(tmp_path / "run"))
    text = turnmix.report(run, output=tmp_path / "report.html").read_text()
    for name in ("divergence", "divergence-by-turn", "accidents"):
        assert f'id="plot-{name}"' in text
    # Of two trajectories the labels cost 2 × (0.5 + 2.5) nats for 16 tokens.
    assert "last: run 0.38" in text
    assert "Accidents: resolved after one scripted action" in text
    listed = Elements(text).script("rows")
    rows = {row[0]: row for row in listed["rows"]}
    assert listed["sets"][rows["own002-00001"][2]] == "own states"
    assert rows["own002-00001"][9] == "repetitive loop"
    assert rows["breaking002-00000"][5] == "AS"


def test_a_sweep_is_told_by_its_comparison_with_the_time_at_which_it_was_fixed(tmp_path):
    sweep = make_sweep(tmp_path / "small")
    text = turnmix.report(sweep, output=tmp_path / "report.html").read_text()
    assert "Which arm is better?" in text
    assert "small: 2 arms × 1 seed, fixed 2026-11-26T16:53:56+00:00<" in text
    assert "sha256 " in text
    assert 'id="plot-compare-resolved"' in text
    assert Elements(text).script("rows")["runs"] == ["sft-seed-0", "dagger-seed-0"]


def test_a_sweep_of_which_only_some_runs_have_begun_has_a_report(tmp_path):
    sweep = make_sweep(tmp_path / "small")
    shutil.rmtree(sweep / "dagger-seed-0")
    text = turnmix.report(sweep, output=tmp_path / "report.html").read_text()
    assert "1 of 2 runs are not complete: dagger-seed-0" in text


def test_runs_of_equal_trajectories_keep_links_of_their_own(tmp_path):
    runs = [make_run(tmp_path / name / "run") for name in ("a", "b")]
    turnmix.report(runs, output=tmp_path / "report.html")
    listed = Elements((tmp_path / "report.html").read_text()).script("rows")
    keys = [row[0] for row in listed["rows"]]
    assert len(set(keys)) == len(keys) == 30
    assert listed["runs"] == ["a/run", "b/run"]
    assert "b/run/i001-00000" in keys


def test_of_a_very_large_run_a_sample_of_each_batch_is_in_the_report_and_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "MOST_BYTES", 100_000)
    run = make_run(tmp_path / "run", many(60, 2))
    text = turnmix.report(run, output=tmp_path / "report.html").read_text()
    rows = Elements(text).script("rows")["rows"]
    rollouts = [row for row in rows if row[0].startswith("i001")]
    assert 4 <= len(rollouts) < 60
    assert f"{len(rows)} of the 72 trajectories are in this file" in text
    # Of 60, 20 are unresolved.
    assert len(rollouts) // 4 <= sum(row[8] == "unresolved" for row in rollouts) <= len(rollouts) // 2


def test_a_text_too_long_is_shown_by_its_ends_and_told(tmp_path):
    long = replace(DIFFERING, observation=seen("begin" + "x" * 3 * LONGEST_TEXT + "end"))
    run = make_run(tmp_path / "run", [trajectory("i001-00000", long)])
    text = turnmix.report(run, output=tmp_path / "report.html").read_text()
    told = [each for each in Elements(text).script("bodies")["texts"] if each.startswith("begin")]
    assert len(told[0]) < 1.01 * LONGEST_TEXT
    assert told[0].endswith("end")
    assert "1 texts of more than 20,000 characters are shown by their beginning and their end" in text


def test_a_run_from_elsewhere_is_said_to_be_one(run, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in run.iterdir():
        if path.is_file():
            (moved / path.name).write_bytes(path.read_bytes())
    assert "not made here" in turnmix.report(moved, output=tmp_path / "report.html").read_text()


def test_a_run_that_has_only_begun_has_a_report(tmp_path):
    run = make_run(tmp_path / "run", is_complete=False)
    for name in ("summary.json", "trajectories.jsonl", "evaluations.jsonl"):
        (run / name).unlink()
    text = turnmix.report(run, output=tmp_path / "report.html").read_text()
    assert "No evaluation yet: not complete" in text
    assert Elements(text).script("rows")["rows"] == []


def test_a_report_is_written_over_an_older_one_and_over_nothing_else(run, tmp_path):
    output = tmp_path / "report.html"
    turnmix.report(run, output=output)
    turnmix.report(run, output=output)
    output.write_text("<html>my own page")
    with pytest.raises(UserError, match="a file that is no report is there: name another"):
        turnmix.report(run, output=output)
    assert output.read_text() == "<html>my own page"


def test_a_link_in_the_place_of_the_report_is_not_followed(run, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "report.html").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="link"):
        turnmix.report(run, output=tmp_path / "report.html")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "nowhere holds no run"),
        (["{run}", "-o", "{tmp}"], "it is a directory: name a file, such as"),
        (["{run}", "-o", "{run}/recipe.yaml/report.html"], "cannot be written"),
        (["{run}", "--plots", "{run}/recipe.yaml"], "it is no directory"),
    ],
)
def test_bad_input_is_told_in_one_line(run, tmp_path, capsys, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *(word.format(run=run, tmp=tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_damaged_trajectory_is_told_as_show_tells_it(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    log = run / "trajectories.jsonl"
    log.write_text(log.read_text().replace('"stop_reason":"stuck"', '"stop_reason":"bored"'))
    assert main(["report", str(run), "-o", str(tmp_path / "report.html")]) == 2
    assert "the trajectory i002-00000 is damaged (stop_reason" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
