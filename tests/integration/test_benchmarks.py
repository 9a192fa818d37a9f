"""Every benchmark runs, at its smallest, and prints the figures that the docs quote."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from container_runtime import DEBIAN, needs_containers
from long_tests import takes_minutes

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def needs(package, extra):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"{package} is not installed: pip install 'turnmix[{extra}]'",
    )


def printed(name, *options):
    """The output of a benchmark."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
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
            "share_of_ideal_16 over_causal_16 gradient_difference_16",
        ),
        ("rollout_overhead", "--trajectories 20 --turns 3", "share_of_ideal"),
        ("student_generation", "--repetitions 1 --new-tokens 4", "speedup"),
        pytest.param(
            "against_trl", "--turns 3 --repeats 1", "speedup weight_difference", marks=needs("trl", "trl")
        ),
    ],
)
def test_a_benchmark_prints_its_figures(name, options, figures):
    found = json.loads(printed(name, *options.split()).splitlines()[-1])
    assert set(figures.split()) <= set(found)
    if name == "tree_training":
        assert found["gradient_difference_16"] < 2e-6


@needs("minisweagent", "benchmarks")
@needs_containers
def test_the_sandboxes_are_compared_with_a_peers():
    out = printed("sandbox", "--rounds", "1", "--commands", "2", "--image", DEBIAN)
    found = json.loads(out.splitlines()[-1])
    assert set(found) == {"container_command_ratio", "bubblewrap_command_ratio"}


def test_the_picture_of_methods_is_drawn_from_finished_runs(tmp_path):
    def run(method, resolved, low, high):
        folder = tmp_path / method
        folder.mkdir()
        end = {"resolved": resolved, "n": 200, "low": low, "high": high}
        base = {"resolved": 59, "n": 200, "low": 0.24, "high": 0.36}
        summary = {"method": method, "base": base, "iterations": [{"eval": end}]}
        (folder / "summary.json").write_text(json.dumps(summary))
        return str(folder)

    runs = [run("dagger", 140, 0.63, 0.76), run("oec", 80, 0.33, 0.47)]
    out = printed("methods", *runs, "--output", str(tmp_path / "methods.svg"))
    assert "DAgger-style     140/200  [63%, 76%]" in out
    drawn = (tmp_path / "methods.svg").read_text()
    assert drawn.count('class="dot"') == 2
    assert ">70 %<" in drawn
