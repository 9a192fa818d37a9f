"""The figure of resolved tasks and divergence against the horizon, of runs that were analysed."""

import runpy
from pathlib import Path

import pytest
from stored_runs import analysed, evaluated_run

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "horizon_figure.py"))


def test_a_point_is_a_mean_over_the_seeds_of_one_method_on_tasks_of_one_length(tmp_path):
    for name, nll, resolved in (
        ("sft-door-seed-0", 0.5, [True, True, False, False]),
        ("sft-door-seed-1", 0.7, [True, True, True, False]),
        ("dagger-door-seed-0", 0.3, [True, True, True, True]),
    ):
        run = evaluated_run(tmp_path / name, [f"method={name.partition('-')[0]}"])
        analysed(run, nll=[nll] * 4, greedy=[True] * 4, resolved=resolved, recovered=[None] * 4)
    dagger, sft = SCRIPT["points"](tmp_path.iterdir())
    assert (dagger.method, dagger.horizon, dagger.seeds) == ("dagger", 1.0, 1)
    assert (dagger.resolved.value, dagger.resolved.low) == (1.0, None)
    assert (sft.method, sft.seeds) == ("sft", 2)
    assert (sft.resolved.value, sft.label_nll.value) == (pytest.approx(0.625), pytest.approx(0.6))
    assert sft.label_nll.low < 0.6 < sft.label_nll.high
    axes = SCRIPT["figure_of"]([dagger, sft]).figure.axes
    assert [each.get_ylabel() for each in axes] == ["resolved, %", "label NLL on own states"]
