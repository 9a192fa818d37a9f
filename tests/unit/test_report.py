"""Tables and lines of figures."""

import io

from rich.console import Console

from turnmix.report import stage_text, summary_table

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
