"""Everything of a method's that can be a user's own, through the command line, stopped by a fault and gone on with."""

import json

import pytest

from own_methods import NAME, TEXT, laid_into
from turnmix.cli import main

RECIPE = """\
iterations: 2
tasks: {train: 40, holdout: 8}
student: {model: nano-student, cohort_size: 2, max_new_tokens: 16}
scaffold: {max_turns: 4}
rollouts: {tasks_per_iteration: 4, concurrency: 4}
learner: {learning_rate: 1.0e-3, epochs: 1, batch_size: 2}
evaluation: {tasks: 2, base: false}
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    yield from laid_into(tmp_path, monkeypatch)


def outcome(run):
    summary = json.loads((run / "summary.json").read_text())
    del summary["wall_seconds"]
    for row in summary["iterations"]:
        del row["seconds"]
    weights = {path.parent.name: path.read_bytes() for path in run.glob("checkpoints/*/model.safetensors")}
    return summary, weights


def test_a_run_that_ones_own_code_stops_goes_on_to_the_weights_of_one_never_stopped(own, capsys):
    (own / "gated.yaml").write_text(f"{RECIPE}method: {NAME}:GATED\ntrackers: {NAME}:Lines\n")
    assert main(["train", "gated.yaml", "--run", "whole"]) == 0
    (own / "stop").touch()
    assert main(["train", "gated.yaml", "--run", "cut"]) == 1
    line = TEXT.splitlines().index('        raise KeyError("stopped")') + 1
    said = capsys.readouterr().err
    assert f"{NAME}.py:{line} ({NAME}:is_short): KeyError: 'stopped'" in said
    assert "go on with: turnmix train --resume cut" in said
    (own / "stop").unlink()
    assert main(["train", "--resume", "cut"]) == 0

    summary, weights = outcome(own / "whole")
    assert (summary, weights) == outcome(own / "cut")
    assert (summary["method"], summary["is_complete"], len(weights)) == (f"{NAME}:GATED", True, 2)
    for row in summary["iterations"]:
        assert row["labels"] > 0
        assert row["objective"]["targets_missing"] > 0  # where the gate let nothing be asked
        assert 0 < row["objective"]["confidence"] < 1
        assert 0 < row["realised_beta"] < 1
    assert "1 step/gradient_norm" in (own / "whole" / "lines.txt").read_text()


def test_guided_opd_is_one_row(own):
    (own / "guided.yaml").write_text(
        f"{RECIPE}method: {NAME}:GUIDED_OPD\nteacher: {{kind: local, model: nano-student}}\n"
    )
    assert main(["train", "guided.yaml", "--run", "run", "iterations=1"]) == 0
    summary, _ = outcome(own / "run")
    (row,) = summary["iterations"]
    assert row["beta"] == 0.5
    assert 0 < row["realised_beta"] < 1
    assert row["labels"] > 0
    assert abs(row["objective"]["kl_teacher"]) < 1e-5  # the student is its own teacher here
