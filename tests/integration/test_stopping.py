"""A run that is asked to stop: it ends, tells how to go on, and leaves nothing behind."""

import signal
import time
from pathlib import Path

import pytest
from long_tests import takes_minutes
from scaffold_in_sandbox import needs_sandbox

from warm_python import MAIN, start_python

pytestmark = needs_sandbox
RECIPE = Path(__file__).parents[2] / "recipes" / "minirepo_dagger.yaml"
IN_FRONT = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"
IN_BACKGROUND = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {MAIN}"
"""As a shell starts `command &` of a script."""
SMALL = ("rollouts.tasks_per_iteration=16", "evaluation.base=false", "learner.epochs=50")


def started(folder, program):
    words = ("train", str(RECIPE), *SMALL, "--run", str(folder / "run"))
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return start_python(program, *words, cwd=folder, stdout=out, stderr=err)


def wait_for(text, process, folder):
    deadline = time.monotonic() + 1500
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
        assert process.wait(timeout=1500) == 1
    finally:
        process.kill()
    said = (tmp_path / "err").read_text()
    assert f"go on with: turnmix train --resume {tmp_path / 'run'}" in said
    assert "Traceback" not in said
