"""A run that is asked to stop: it ends, tells how to go on, and leaves nothing behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from long_tests import takes_minutes
from scaffold_in_sandbox import needs_sandbox

from strict_environment import strict_environment

pytestmark = needs_sandbox
RECIPE = Path(__file__).parents[2] / "recipes" / "minirepo_dagger.yaml"
MAIN = "from turnmix.cli import main; sys.exit(main())"
IN_FRONT = f"import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"
IN_BACKGROUND = f"import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); {MAIN}"
"""As a shell starts `command &` of a script."""
SMALL = ("rollouts.tasks_per_iteration=16", "evaluation.base=false", "learner.epochs=50")


def started(folder, program):
    return subprocess.Popen(
        [sys.executable, "-c", program, "train", str(RECIPE), *SMALL, "--run", str(folder / "run")],
        cwd=folder,
        env=strict_environment(),
        stdout=(folder / "out").open("wb"),
        stderr=(folder / "err").open("wb"),
    )


def wait_for(text, process, folder):
    deadline = time.monotonic() + 120
    while text not in (folder / "out").read_text():
        assert process.poll() is None, (folder / "err").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("program", "number", "stage"),
    [
        (IN_FRONT, signal.SIGINT, "rollout"),
        (IN_FRONT, signal.SIGTERM, "train"),
        (IN_BACKGROUND, signal.SIGTERM, "rollout"),
        pytest.param(IN_BACKGROUND, signal.SIGTERM, "train", marks=takes_minutes),
    ],
    ids=[
        "Ctrl-C in rollouts",
        "SIGTERM in training",
        "in the background, in rollouts",
        "in the background, in training",
    ],
)
def test_a_run_stops_when_asked_and_says_how_to_go_on(tmp_path, program, number, stage):
    process = started(tmp_path, program)
    try:
        wait_for(f"iteration 1   {stage}", process, tmp_path)
        process.send_signal(number)
        assert process.wait(timeout=30) == 1
    finally:
        process.kill()
    said = (tmp_path / "err").read_text()
    assert f"go on with: turnmix train --resume {tmp_path / 'run'}" in said
    assert "Traceback" not in said
