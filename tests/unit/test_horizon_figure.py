"""The figure of resolved tasks and divergence against the horizon, of runs that were analysed."""

import runpy
from pathlib import Path

import pytest
from stored_runs import analysed, evaluated_run

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "horizon_figure.py"))


def test_a_point_holds_the_seeds_of_one_method_on_tasks_of_one_length_and_is_drawn_at_their_mean(tmp_path):
    for name, nll, resolved in (
        ("sft-door-seed-0", 0.5, [True, True, False, False]),
        ("sft-door-seed-1", 0.7, [True, True, True, False]),
        ("dagger-door-seed-0", 0.3, [True, True, True, True]),
    ):
        run = evaluated_run(tmp_path / name, [f"method={name.partition('-')[0]}"])
        analysed(run, nll=[nll] * 4, greedy=[True] * 4, resolved=resolved, recovered=[None] * 4)
    dagger, sft = SCRIPT["points"](tmp_path.iterdir())
    assert (dagger.method, dagger.horizon, dagger.resolved) == ("dagger", 1.0, (1.0,))
    assert (sft.method, sft.resolved) == ("sft", (0.5, 0.75))
    assert sft.label_nll == pytest.approx((0.5, 0.7))
    axes = SCRIPT["figure_of"]([dagger, sft]).figure.axes
    assert [each.get_ylabel() for each in axes] == ["resolved, %", "label NLL on own states"]
    mean, seeds, *_ = axes[0].lines[2:]
    assert ([*mean.get_ydata()], [*seeds.get_ydata()]) == ([62.5], [50.0, 75.0])
