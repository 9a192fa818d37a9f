"""What a teacher took and how far training came by it: from stored stages, without a guess."""

from contextlib import closing

import pytest

from turnmix.analysis.scaling import scaling_points
from turnmix.analysis.stored import StoredAnalysis
from turnmix.analysis.teacher_economy import economy_tables
from turnmix.analysis.teacher_prices import TeacherPrices, keep_prices
from turnmix.core.errors import UserError
from turnmix.recipe.recipe import recipe_of, recipe_yaml
from turnmix.running.analysis_settings import teacher_prices
from turnmix.store.run_directory import RunDirectory

ENDPOINT = {"kind": "endpoint", "endpoint": "http://localhost:1/v1", "model": "teacher-1"}
PRICES = TeacherPrices(input=3.0, cached=0.3, output=15.0)


def usage(requests=10, tokens_in=400_000, cached=100_000, out=10_000):
    numbers = {"requests": requests, "retries": 1, "input_tokens": tokens_in}
    return {"teacher": {**numbers, "output_tokens": out, "cached_tokens": cached}}


def stored_run(path, *, seed=0, resolved=(4, 6, 8), used=None, **recipe):
    """A run of two iterations that learned 100 labels each, as its stages left it."""
    made = recipe_of({"method": "dagger", "tasks": {"source": "minirepo"}, "seed": seed, **recipe})
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(made))) as run:
        for iteration in (1, 2):
            teacher = {"answers": 120, "calls": 120, "acted": 4, "resolved": 4}
            run.record_stage("rollout", iteration, {"beta": 1.0, "usage": used or {}, "teacher": teacher})
            run.record_stage("train", iteration, {"step_losses": [1.0], "labels": 100, "label_tokens": 900})
        for iteration, count in enumerate(resolved):
            if count is not None:
                run.record_stage("evaluate", iteration, {"resolved": count, "n": 10, "low": 0.0, "high": 1.0})
    return path


def row(path):
    """The economy of a run, by column."""
    (table,) = economy_tables([path])
    titles = [column.title for column in table.columns]
    return dict(zip(titles, table.rows[0], strict=True)), table.notes


def test_money_is_what_plain_cached_and_written_tokens_cost(tmp_path):
    run = stored_run(tmp_path / "run", used=usage(), teacher=ENDPOINT)
    keep_prices(run, PRICES)
    cells, _ = row(run)
    # Twice (300,000 · 3 + 100,000 · .3 + 10,000 · 15) / 1,000,000; 8 of 10 tasks resolved in the end, 4 by the base.
    assert cells["dollars"] == pytest.approx(2 * 1.08)
    assert cells["dollars per resolved task"] == pytest.approx(2 * 1.08 / 8)
    assert (cells["labels learned"], cells["labels per resolved task"]) == (200, 25.0)
    assert cells["tokens per resolved task"] == 820_000 / 8
    assert (cells["more than base"], cells["teacher's answers"], cells["requests"]) == (4, 240, 20)


@pytest.mark.parametrize(
    ("used", "prices", "told"),
    [
        (usage(), None, "--price"),
        (usage(), TeacherPrices(input=3.0, output=15.0), "--price cached"),
        (usage(tokens_in=0, cached=0, out=0), PRICES, "told no tokens"),
        ({}, PRICES, "no server"),
    ],
)
def test_what_is_not_known_makes_no_money_and_says_so(tmp_path, used, prices, told):
    run = stored_run(tmp_path / "run", used=used, teacher=ENDPOINT)
    if prices is not None:
        keep_prices(run, prices)
    cells, notes = row(run)
    assert cells["dollars"] is None
    assert cells["dollars per resolved task"] is None
    assert told in notes[-1]


def test_an_oracle_costs_nothing_and_is_said_to_be_free(tmp_path):
    cells, notes = row(stored_run(tmp_path / "run"))
    assert (cells["teacher"], cells["dollars"], cells["tokens in"]) == ("oracle (free)", 0.0, None)
    assert any("free" in note for note in notes)


def test_where_nothing_is_resolved_nothing_is_told_per_resolved_task(tmp_path):
    cells, _ = row(stored_run(tmp_path / "run", resolved=(None, None, 0)))
    assert (cells["labels per resolved task"], cells["more than base"]) == (None, None)


def test_damaged_prices_are_told_with_the_file(tmp_path):
    run = stored_run(tmp_path / "run", teacher=ENDPOINT)
    keep_prices(run, PRICES)
    (run / "analyses" / "prices.json").write_text('{"input": "free", "output": 1}')
    with pytest.raises(UserError, match=r"prices\.json"):
        economy_tables([run])


@pytest.mark.parametrize(
    "given", [{"input": 3}, {"input": -1, "output": 1}, {"inputs": 1, "input": 1, "output": 1}]
)
def test_prices_that_will_not_do_are_refused(given):
    with pytest.raises(UserError, match="prices"):
        teacher_prices(given)


def test_seeds_of_one_arm_are_one_curve_with_a_band(tmp_path):
    runs = [
        stored_run(
            tmp_path / f"sft-seed-{seed}", seed=seed, resolved=(4, None, last), used=usage(), teacher=ENDPOINT
        )
        for seed, last in enumerate((6, 7, 8))
    ]
    other = stored_run(tmp_path / "other", resolved=(4, None, 9), learner={"epochs": 2})
    points = scaling_points([*runs, other])
    assert [(point.arm, point.iteration, point.seeds) for point in points] == [
        ("sft", 0, 3),
        ("sft", 2, 3),
        ("other", 0, 1),
        ("other", 2, 1),
    ]
    last = points[1]
    assert (last.labels, last.label_tokens, last.teacher_tokens) == (200, 1800, 820_000)
    assert (last.resolved.count, last.resolved.of) == (21, 30)
    # The mean .7, its standard error .1 / √3, t(2) = 4.303.
    assert last.resolved_of_seeds.value == pytest.approx(0.7)
    assert last.resolved_of_seeds.high == pytest.approx(0.7 + 4.303 * 0.1 / 3**0.5, abs=1e-3)
    assert points[3].resolved_of_seeds is None
    assert points[3].teacher_tokens is None
    assert points[1].label_nll is None


def test_a_run_that_trained_nothing_has_no_table(tmp_path):
    made = recipe_of({"method": "dagger", "tasks": {"source": "minirepo"}})
    with closing(RunDirectory.create(tmp_path / "run", recipe_yaml=recipe_yaml(made))) as run:
        run.record_stage("evaluate", 0, {"resolved": 1, "n": 2, "low": 0.0, "high": 1.0})
    assert economy_tables([tmp_path / "run"]) == []
    analysis = StoredAnalysis(
        run=tmp_path / "run", path=tmp_path / "x", iteration=0, num_tasks=2, student="s", weights=None
    )
    assert [table.name for table in analysis.tables(["teacher", "scaling"])] == ["scaling"]
