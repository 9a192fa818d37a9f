"""A run that cannot be written, or whose tracker does not start: one line that says how to go on, nothing half-made."""

from pathlib import Path

import pytest
from long_tests import takes_minutes
from safetensors.torch import load_file
from scaffold_in_sandbox import needs_sandbox

from limited_files import no_file_larger_than
from turnmix.store.run_directory import RunDirectory
from warm_python import MAIN, run_python

pytestmark = needs_sandbox
RECIPE = Path(__file__).parents[2] / "recipes" / "minirepo_dagger.yaml"
WITHOUT_KEY = """
from accelerate import tracking
class Wandb(tracking.GeneralTracker):
    name, requires_logging_directory, tracker = "wandb", False, None
    def __init__(self, run_name, dir, **_):
        open(dir + "/debug.log", "w").close()
        raise RuntimeError("No API key configured.")
tracking.LOGGER_TYPE_TO_CLASS["wandb"] = Wandb
tracking.get_available_trackers = lambda: ["tensorboard", "wandb"]
"""
SMALL = (
    "iterations=1",
    "rollouts.tasks_per_iteration=2",
    "student.cohort_size=2",
    "student.max_new_tokens=16",
    "scaffold.max_turns=4",
    "data.filter=all",
    "evaluation={tasks: 1, base: false}",
    "learner.epochs=1",
)


def train(folder, *words, program=MAIN):
    done = run_python(program, "train", *words, cwd=folder)
    return done.returncode, done.stdout, done.stderr


def weights(run):
    return load_file(run / "checkpoints" / "iteration-001" / "model.safetensors")


@takes_minutes
def test_a_disk_that_fills_is_told_in_one_line_and_the_run_goes_on_once_there_is_room(tmp_path):
    # Files of the run take a few kilobytes each, the weights 2.7 megabytes.
    with no_file_larger_than(1_000_000):
        code, out, err = train(tmp_path, str(RECIPE), *SMALL, "--run", "a run")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("turnmix: the checkpoint a run/checkpoints/iteration-001 cannot be written (")
    assert err.endswith("File too large (os error 27); go on with: turnmix train --resume 'a run'\n")
    assert list((tmp_path / "a run" / "checkpoints").iterdir()) == []
    assert [path for path in (tmp_path / "a run").rglob("*.partial")] == []
    code, out, err = train(tmp_path, "--resume", "a run")
    assert (code, err) == (
        0,
        "note: iteration 1: no whole checkpoint is there: trained again, from the stored rollouts\n",
    )
    code, out, _ = train(tmp_path, str(RECIPE), *SMALL, "--run", "whole")
    assert code == 0
    one, other = weights(tmp_path / "a run"), weights(tmp_path / "whole")
    assert all(one[name].equal(other[name]) for name in other)

    code, again, err = train(tmp_path, str(RECIPE), *SMALL, "--run", "whole")
    assert (code, again) == (0, out[out.index("\n\n") + 1 :])
    assert err == (
        "note: whole holds this recipe's run, complete: to run it again, name another with --run\n"
    )


@pytest.mark.parametrize("name", ["clock.json", "summary.json"])
def test_a_file_that_cannot_be_written_ends_the_run_in_one_line(tmp_path, name):
    begun = train(tmp_path, str(RECIPE), *SMALL, "--dry-run")[1]
    RunDirectory.create(tmp_path / "run", recipe_yaml=begun).close()
    (tmp_path / "run" / f".{name}.partial").mkdir()
    code, _, err = train(tmp_path, str(RECIPE), *SMALL, "--run", "run")
    assert (code, err.splitlines()) == (
        1,
        [
            "note: run holds a run of this recipe: going on with it",
            f"turnmix: run/{name}: Is a directory; go on with: turnmix train --resume run",
        ],
    )


def test_a_tracker_that_does_not_start_leaves_no_directory_and_the_same_command_begins_later(tmp_path):
    words = (str(RECIPE), *SMALL, "trackers=[wandb]", "--run", "run")
    code, _, err = train(tmp_path, *words, program=WITHOUT_KEY + MAIN)
    assert code == 2
    assert err == (
        "turnmix: trackers: wandb does not start (No API key configured.): set it up as its documentation says, or "
        "leave it out\n"
    )
    assert list(tmp_path.iterdir()) == []
