"""`turnmix analyse`: students are looked at in the states that they visit, once; what lies there is read again."""

import json
import os
import shutil
import subprocess
import sys

import analysed_world
import pytest
import torch
import word_world
from analysed_world import analysed_run
from strangers import turnmix

import turnmix as public
from strict_environment import strict_environment
from turnmix.analysis.stored import stored_analyses
from turnmix.core.errors import UserError
from turnmix.methods.targets import taught_labels
from turnmix.policies.local.loading import load_student
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.running.reporter import QuietReporter

ALL = ("divergence", "accidents", "headroom", "gates")


def analysed(run, **options):
    """The tables of a run, as JSON."""
    tables = public.analyse(run, reporter=QuietReporter(), **{"headroom": [["say"]], **options})
    return {table.name: table.to_json() for table in tables}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was analysed with every instrument, and its tables."""
    run = analysed_run(tmp_path_factory.mktemp("analyse") / "run")
    return run, analysed(run, instruments=ALL)


def tables_of_stored(run):
    return [table for analysis in stored_analyses(run) for table in analysis.tables()]


def copied(whole, tmp_path):
    """The run, to be changed; made here as far as anybody can tell."""
    return shutil.copytree(whole[0], tmp_path / "run")


def test_the_nll_of_a_label_is_that_of_one_plain_forward_pass_a_label(whole):
    (analysis,) = stored_analyses(whole[0])
    model, _, renderer = load_student(StudentSettings(model=analysis.student))
    compared = 0
    for name in ("own", "teacher"):
        for scored in analysis.scored(name):
            labels = taught_labels(scored.trajectory)
            for turn, (label, score) in enumerate(zip(labels, scored.scores, strict=True)):
                state = scored.trajectory.state(turn)
                prompt, target = renderer.prompt_ids(state), renderer.target_ids(state, label)
                with torch.no_grad():
                    logits = model(torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
                nll = torch.nn.functional.cross_entropy(logits, torch.tensor(target), reduction="sum")
                assert score.label_nll == pytest.approx(nll.item(), rel=1e-4)
                assert score.is_greedy == (logits.argmax(-1).tolist() == target)
                assert (score.label_tokens, score.label_kind) == (len(target), "say")
                compared += 1
    assert (
        compared == 2 * 3 + 3
    )  # the student says a wrong word twice in three tasks; the expert the right one


def test_tables_hold_students_accidents_and_an_expert_that_takes_over(whole):
    _, tables = whole
    (row,) = tables["divergence"]["rows"]
    assert row[:2] == ["iteration 1", 3]
    assert row[2]["low"] <= row[2]["value"] <= row[2]["high"]
    assert "reverse KL is not shown" in " ".join(tables["divergence"]["notes"])
    assert [each[0] for each in tables["divergence-by-kind"]["rows"]] == ["iteration 1, say"]
    assert tables["actors"]["rows"] == [["iteration 1", 0.6, 0.5, 0.25, None]]
    none, of_all = {"count": 0, "of": 3}, {"count": 3, "of": 3}
    assert tables["accidents"]["rows"] == [
        ["iteration 1, none", none, None, None],
        ["iteration 1, harmless", none, of_all, none],
        ["iteration 1, breaking", none, of_all, none],
    ]
    assert tables["headroom"]["rows"] == [
        ["iteration 1 alone", none, {"count": 0, "of": 6}],
        ["iteration 1, expert does say", of_all, of_all],
    ]
    # A wrong word is what the student says first; then the expert says the right one.
    gates = {row[0]: row[1] and row[1]["value"] for row in tables["gates"]["rows"]}
    assert gates["SFT resolves"] == 0.0
    assert gates["trajectories that deviate"] == gates["expert resolves after deviation"] == 1.0


def test_an_analysis_that_was_stopped_anywhere_goes_on_to_the_same(whole, tmp_path, monkeypatch):
    run, tables = whole
    intact, left = word_world.WordWorld.verify, [0]

    async def breaking(self, stop_reason):
        left[0] -= 1
        if left[0] < 0:
            raise UserError("the world broke")
        return await intact(self, stop_reason)

    monkeypatch.setattr(word_world.WordWorld, "verify", breaking)
    cut = analysed_run(tmp_path / "run")
    for num_judged in (1, 2, 4, 5):
        left[0] = num_judged
        with pytest.raises(UserError, match="the world broke"):
            analysed(cut, instruments=ALL)
    monkeypatch.setattr(word_world.WordWorld, "verify", intact)
    log = cut / "analyses" / "iteration-001" / "own.jsonl"
    with log.open("r+b") as file:  # a line was being written
        file.truncate(log.stat().st_size - 7)
    assert analysed(cut, instruments=ALL) == tables
    for name in ("own-scores.jsonl", "teacher-scores.jsonl"):
        where = os.path.join("analyses", "iteration-001", name)
        assert (cut / where).read_bytes() == (run / where).read_bytes()


def test_the_same_command_again_says_the_same_digits_and_loads_no_model(whole):
    run, tables = whole
    before = {path: path.read_bytes() for path in run.rglob("*.jsonl")}
    main = (
        "import sys; from turnmix.cli import main; code = main(); "
        "print('torch' in sys.modules, file=sys.stderr); sys.exit(code)"
    )
    words = ["analyse", str(run), "--instruments", ",".join(ALL), "--headroom", "say", "--json"]
    path = os.pathsep.join([os.path.dirname(analysed_world.__file__), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", main, *words],
        capture_output=True,
        text=True,
        env={**strict_environment(), "PYTHONPATH": path},
        check=True,
    )
    assert json.loads(done.stdout) == list(tables.values())
    assert done.stderr.splitlines()[-1] == "False"
    assert {path: path.read_bytes() for path in run.rglob("*.jsonl")} == before


def test_the_base_student_and_every_checkpoint_are_rows_and_the_teacher_acts_once(tmp_path):
    run = analysed_run(tmp_path / "run")
    tables = analysed(run, checkpoints="all", num_tasks=2)
    base, trained = tables["divergence"]["rows"]
    assert (base[0], trained[0]) == ("base student", "iteration 1")
    assert base[1:] == trained[1:]  # the checkpoint is a copy of the base
    assert [path.parent.name for path in run.rglob("teacher.jsonl")] == ["teacher"]
    with pytest.raises(UserError, match=r"evaluation\.tasks: 3, but the analysis in .* was begun with 2"):
        analysed(run, num_tasks=3)
    assert analysed(run)["divergence"]["rows"] == [trained]  # as many as before
    with pytest.raises(
        UserError, match=r"iteration-007: this checkpoint is not there .* left: .*iteration-001"
    ):
        analysed(run, checkpoints=[7])


def test_a_student_is_compared_with_a_local_teacher_over_the_vocabulary(tmp_path):
    teacher = {"kind": "local", "model": "nano-student", "max_new_tokens": 12}
    run = analysed_run(tmp_path / "same", teacher=teacher)
    row = analysed(run, num_tasks=2)["divergence"]["rows"][0]
    assert row[6]["value"] == pytest.approx(0, abs=1e-6)  # the student's own weights
    run = analysed_run(tmp_path / "other", teacher={**teacher, "model": "nano-teacher"})
    row = analysed(run, num_tasks=2)["divergence"]["rows"][0]
    assert row[6]["value"] > 0.01


def test_changed_weights_are_not_taken_for_those_that_were_analysed(whole, tmp_path):
    run = copied(whole, tmp_path)
    (run / "checkpoints" / "iteration-001" / "added.json").write_text("{}")
    with pytest.raises(UserError, match=r"tasks\.source: names code of somebody's"):
        analysed(run)
    with pytest.raises(UserError, match=r"whose files are others: .* delete this directory to analyse anew"):
        analysed(run, overrides=["tasks.source=analysed_world:AnalysedWords"])


DAMAGED = {
    "analysis.json": ["", "[]", '{"student": "a", "num_tasks": 0}', '{"student": 1, "num_tasks": 3}'],
    "own.jsonl": ["{}\n", '{"id": 1}\n', '{"id":"own001-00000","turns":"x"}\n', "[" * 1000 + "\n"],
    "own-scores.jsonl": [
        '{"id":"own001-00000","turns":[]}\n',
        '{"id":"own001-00000","turns":[{"label_nll":"x"},null]}\n',
        '{"id":"own001-00000","turns":[{"label_nll":-1.0},null]}\n',
        '{"id":"own001-00000","turns":[{"label_tokens":1e999},null]}\n',
    ],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in DAMAGED.items() for text in texts]
)
def test_a_damaged_analysis_is_told_in_one_line(whole, tmp_path, name, text):
    run = copied(whole, tmp_path)
    path = run / "analyses" / "iteration-001" / name
    path.write_text(text)
    with pytest.raises(UserError) as told:
        tables_of_stored(run)
    assert str(path) in told.value.lines[0]
    assert len(told.value.lines) == 1


@pytest.mark.parametrize("place", ["analyses", "analyses/iteration-001", "analyses/iteration-001/own.jsonl"])
def test_a_link_in_the_place_of_an_analysis_is_not_followed(whole, tmp_path, place, capsys):
    run = copied(whole, tmp_path)
    (run / place).rename(tmp_path / "elsewhere")
    (run / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="symbolic link"):
        tables_of_stored(run)
    code, said = turnmix(capsys, "analyse", run, "tasks.source=analysed_world:AnalysedWords")
    assert (code, "symbolic link" in said, said.count("\n")) == (2, True, said.count("student: ") + 1)


def test_the_directory_of_an_analysis_is_no_run(whole, capsys):
    path = whole[0] / "analyses" / "iteration-001"
    for words in (["show", path], ["train", "--resume", path], ["analyse", path], ["evaluate", path]):
        code, said = turnmix(capsys, *words)
        assert (
            code,
            f"holds an analysis, not a run: its tables are shown by: turnmix analyse {whole[0]}" in said,
        ) == (
            2,
            True,
        ), said


def test_what_cannot_be_analysed_is_said_in_one_line_before_anything_is_made(tmp_path, capsys):
    run = analysed_run(tmp_path / "run")
    for words, told in (
        (["--instruments", "divergenz"], "instruments: 'divergenz': there is none: choose from divergence"),
        (["--checkpoints", "first"], "--checkpoints: 'first': say last, all, or iterations"),
        (["--tasks", "0"], "nothing is analysed"),
        (["teacher.kind=oracel"], "oracle"),
    ):
        code, said = turnmix(capsys, "analyse", run, *words)
        assert (code, told in said) == (2, True), said
    assert turnmix(capsys, "analyse", tmp_path / "no")[0] == 2
    assert not (run / "analyses").exists()
