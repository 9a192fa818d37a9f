"""Every benchmark runs, at its smallest, and prints the figures that the docs quote."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from container_runtime import DEBIAN, needs_containers
from long_tests import takes_many_minutes, takes_minutes
from scaffold_in_sandbox import needs_sandbox

from warm_python import run_python

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROGRAM = """
import os, runpy, sys, warnings
warnings.simplefilter("ignore")  # a peer may use what a release will take away
del os.environ["PYTHONWARNINGS"]
sys.path.insert(0, os.path.dirname({0!r}))
runpy.run_path({0!r}, run_name="__main__")
"""


MOST_SECONDS = 3000
AT_MOST = {
    "gradient_difference_16": 2e-6,
    "half_budget_rows_16": 1.25,
    "weight_difference": 1e-3,
    "rows_ratio": 1.25,
    "peak_mb_growth": 60,
}


def needs(package, extra):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"{package} is not installed: pip install 'turnmix[{extra}]'",
    )


def printed(name, *options):
    """The output of a benchmark."""
    program = PROGRAM.format(str(BENCHMARKS / f"{name}.py"))
    done = run_python(program, *options, cwd=BENCHMARKS.parent, timeout=MOST_SECONDS)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout


@takes_minutes
@pytest.mark.parametrize(
    ("name", "options", "figures"),
    [
        ("loss_head", "--labels 64 --hidden-size 8 --repeats 1", "memory_ratio time_ratio"),
        (
            "tree_training",
            "--turns 16 --repeats 1",
            "share_of_ideal_16 over_causal_16 over_per_branch_16 over_masked_row_by_label_16 half_budget_rows_16 "
            "gradient_difference_16",
        ),
        pytest.param(
            "paper_size",
            "--trajectories 8 --split 1",
            "rows_ratio peak_mb_growth render_seconds_per_trajectory render_over_tokenizing open_seconds_per_gb",
            marks=takes_many_minutes,
        ),
        ("rollout_overhead", "--trajectories 20 --whole 4 --turns 2", "share_of_ideal ms_per_turn"),
        pytest.param(
            "trajectory_processor",
            "--rounds 2",
            "trajectory_ms look_ratio verdict_ratio",
            marks=needs_sandbox,
        ),
        (
            "gateway",
            "--sessions 2 --turns 3 --rounds 1 --pause 0",
            "added_ms_2 added_p99_ms_2 throughput_share_2 cpu_ms_2",
        ),
        ("student_generation", "--repetitions 1 --trajectories 4", "speedup"),
        pytest.param(
            "cluster",
            "--each 2 --concurrency 2 --turns 2 --rounds 1 --memory 20",
            "share_of_ideal_1 share_of_linear_4 driver_cpu_ms disk_kb rss_growth_mb trajectories_per_second",
            marks=needs("ray", "ray"),
        ),
        pytest.param(
            "against_trl",
            "--turns 3 --repeats 1",
            "speedup over_per_branch over_masked_row_by_label weight_difference",
            marks=needs("trl", "trl"),
        ),
    ],
)
def test_a_benchmark_prints_its_figures(name, options, figures):
    found = json.loads(printed(name, *options.split()).splitlines()[-1])
    for figure in figures.split():
        assert found[figure] <= AT_MOST.get(figure, math.inf), figure


@needs("minisweagent", "benchmarks")
@needs_containers
def test_the_sandboxes_are_compared_with_a_peers():
    out = printed("sandbox", "--rounds", "1", "--commands", "2", "--at-once", "2", "--image", DEBIAN)
    found = json.loads(out.splitlines()[-1])
    assert {"container_command_ratio", "bubblewrap_command_ratio", "containers_at_once_ratio"} <= set(found)
    assert found["bubblewrap_descriptors"] == 2.0


def recorded(tmp_path, *options):
    """The figures that the record on a GPU writes of tiny shapes on the CPU, by step and part."""
    time = ("--seconds", str(MOST_SECONDS))
    table = printed("gpu_record", "--small", *time, "--out", str(tmp_path), *options)
    lines = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()]
    assert not [line for line in lines if "error" in line]
    assert table.endswith((tmp_path / "table.md").read_text() + "\n")
    return {(line["step"], line["part"]): line for line in lines}


@needs("peft", "lora")
def test_the_record_on_a_gpu_writes_each_figure_and_its_table(tmp_path):
    found = recorded(tmp_path, "--steps", "exact,lora,full")
    assert found["exact", "model, float32"]["gradient_difference"] < 2e-6
    assert found["lora", "architecture probe"]["passed"]
    assert found["lora", "LoRA, 1,200 rows"]["step_seconds"] > 0
    assert found["full", "a loss that is not finite"]["passed"]
    assert "| lora | LoRA, 900 rows |" in (tmp_path / "table.md").read_text()


def test_a_figure_that_is_not_finite_is_a_word_in_the_record(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu_record import Record, read_record

    Record(tmp_path / "record.jsonl", "exact")(part="attention", output=float("nan"), rows=3)
    assert read_record(tmp_path) == [{"step": "exact", "part": "attention", "output": "nan", "rows": 3}]


@takes_many_minutes
def test_the_record_on_a_gpu_takes_its_other_steps(tmp_path):
    found = recorded(tmp_path, "--steps", "machine,speed,tree,ranks,head")
    assert {step for step, _ in found} == {"machine", "speed", "tree", "ranks", "head"}


def test_a_step_of_the_record_that_fails_or_has_no_time_left_is_told_and_the_next_one_begins(tmp_path):
    program = (sys.executable, str(BENCHMARKS / "gpu_record.py"), "--out", str(tmp_path))
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    options = {"env": env, "capture_output": True, "text": True, "timeout": MOST_SECONDS}
    subprocess.run([*program, "--steps", "lora,head"], check=True, **options)
    subprocess.run([*program, "--steps", "full", "--seconds", "1"], check=True, **options)
    lines = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()]
    errors = {line["step"]: line["error"] for line in lines if "error" in line}
    assert list(errors) == ["lora", "head", "full"]
    assert errors["full"] == "left out: the time was over"
    assert "What falls short" in (tmp_path / "table.md").read_text()
