"""`turnmix train` in a world, whole, and killed after its first trajectory: it goes on to the same end."""

import json
import signal
import time

from stored_trajectories import trajectories

from warm_python import start_turnmix

MOST_SECONDS = 1500
ATTEMPTS = 5
"""A run that has ended before it could be killed is begun anew so often."""
SMALL = [
    *("iterations=1", "tasks.max_turns=3", "student.cohort_size=2", "student.max_new_tokens=8"),
    *(
        "rollouts.tasks_per_iteration=4",
        "rollouts.concurrency=2",
        "evaluation.tasks=1",
        "evaluation.base=false",
    ),
    "learner.epochs=1",
]
DAGGER = [
    *("method=dagger", "mixture.start=0.5", "mixture.decay=0", "mixture.floor=0.5", "data.filter=all"),
    "teacher.kind=oracle",
]
"""For worlds whose recipes learn from rewards alone."""


def trained_whole_and_killed(recipe, words, folder, start=start_turnmix):
    """Trains twice in `folder`, the second time killed at its first stored trajectory, and resumed: both runs hold the
    same trajectories, whose labels were taught. `start`: as `start_turnmix`."""
    run(start, folder, "train", recipe, *words, "--run", "whole")
    names = (f"killed-{number}" for number in range(ATTEMPTS))
    name = next(name for name in names if is_killed(start, folder, "train", recipe, *words, "--run", name))
    run(start, folder, "train", "--resume", name)
    killed, whole = (trajectories(folder / each / "trajectories.jsonl") for each in (name, "whole"))
    assert killed == whole
    (row,) = json.loads((folder / name / "summary.json").read_text())["iterations"]
    assert row["infra_errors"] == 0
    assert row["rollouts"] == len(whole) == 4
    assert row["labels"] > 0


def is_killed(start, folder, *words):
    """Begins a run, and kills it at its first stored trajectory. False: it had ended by then."""
    process = begin(start, folder, *words)
    log, deadline = folder / words[-1] / "trajectories.jsonl", time.monotonic() + MOST_SECONDS
    while not (log.exists() and b"\n" in log.read_bytes()):
        assert process.poll() in (None, 0), (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.005)
    process.kill()
    return process.wait() == -signal.SIGKILL


def begin(start, folder, *words):
    with open(folder / "log", "ab") as log:
        return start(*words, cwd=folder, stdout=log, stderr=log)


def run(start, folder, *words):
    assert begin(start, folder, *words).wait(MOST_SECONDS) == 0, (folder / "log").read_text()
