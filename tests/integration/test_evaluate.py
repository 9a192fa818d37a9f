"""`turnmix evaluate`, stopped and gone on with, repeated, and looked at."""

import shutil
import signal
import time

import pytest
from scaffold_in_sandbox import needs_sandbox
from stored_trajectories import trajectories

from turnmix.assembly.model_location import model_location
from warm_python import run_python, start_python

pytestmark = needs_sandbox
LOG = "evaluations.jsonl"
RECIPE = """\
method: dagger
tasks: {train: 40, holdout: 12}
student: {model: nano-student, cohort_size: 3, max_new_tokens: 64}
scaffold: {max_turns: 12}
rollouts: {concurrency: 6}
evaluation: {tasks: 12}
"""
MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from turnmix.cli import main; code = main(); "
    "print('tensor code was loaded' if 'torch' in sys.modules else 'no tensor code'); sys.exit(code)"
)
UNENDED = """
import asyncio, json
from pathlib import Path
from turnmix.environments.scaffolded import ScaffoldedEnvironment
log = Path("cut/evaluations.jsonl")
lines = log.read_text().split("\\n")[:-1] if log.exists() else []
ended = {json.loads(line)["task_id"] for line in lines}
verify, one_at_a_time, further = ScaffoldedEnvironment.verify, asyncio.Lock(), []
async def verified(self, stop_reason):
    if self._task.id in ended:
        return await verify(self, stop_reason)
    async with one_at_a_time:
        if not further:
            further.append(await verify(self, stop_reason))
            return further[0]
    await asyncio.sleep(3600)
ScaffoldedEnvironment.verify = verified
"""
"""Before `MAIN`: one trajectory that is not on disk comes to its end, and no other such one. A cohort of which some are
there is rolled out whole again."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "small.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """An evaluation that nobody stopped, and what it said."""
    said = turnmix(folder, "evaluate", "nano-student", "small.yaml", is_warm=False)
    return folder / "evaluations" / "nano-student-small", said


def start(folder, *words):
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return start_python(UNENDED + MAIN, *words, cwd=folder, stdout=out, stderr=err)


def turnmix(folder, *words, code=0, is_warm=True):
    done = run_python(MAIN, *words, cwd=folder, is_warm=is_warm)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def figures_in(said):
    return [
        line
        for line in said.splitlines()
        if line.startswith(("resolved:", "student:")) or "on average" in line
    ]


def stopped_thrice(folder, output):
    """What an evaluation said each time, and how it ended; None: it had come to its end before it was stopped."""
    log = folder / output / LOG
    ends = []
    # Each is stopped with one trajectory more than the one before it.
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        wanted = log.read_bytes().count(b"\n") + 1 if log.exists() else 1
        process = start(folder, "evaluate", "nano-student", "small.yaml", "--output", output)
        deadline = time.monotonic() + 1500
        while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < wanted):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        code = process.wait(timeout=1500)
        if (folder / output / "results.json").exists():
            return None
        ends.append(((folder / "err").read_text(), code))
    return ends


def test_an_evaluation_stopped_and_gone_on_with_comes_to_the_same_as_one_that_was_not(folder, whole):
    outputs = ((output, stopped_thrice(folder, output)) for output in ("cut", "cut-again", "cut-once-more"))
    cut, ends = next(found for found in outputs if found[1] is not None)
    log = folder / cut / LOG
    stopped = ("turnmix: stopped; the same command goes on where this one stopped\n", 1)
    assert ends == [("", -signal.SIGKILL), stopped, stopped]
    assert "not complete" in turnmix(folder, "show", cut)

    held = log.read_bytes()
    said = turnmix(folder, "evaluate", "nano-student", "small.yaml", "--output", cut)
    assert "found on disk" in said
    assert figures_in(said) == figures_in(whole[1])
    assert log.read_bytes().startswith(held[: held.rindex(b"\n") + 1])
    assert trajectories(log) == trajectories(whole[0] / LOG)
    assert (folder / cut / "results.json").read_bytes() == (whole[0] / "results.json").read_bytes()
    verdicts = [record["verdict"]["resolved"] for record in trajectories(whole[0] / LOG).values()]
    assert len(verdicts) == 12


def test_the_same_command_again_says_the_same_and_loads_no_model(folder, whole):
    directory, said = whole
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    again = turnmix(folder, "evaluate", "nano-student", "small.yaml", is_warm=False)
    assert (figures_in(again), len(figures_in(again))) == (figures_in(said), 3)
    assert ("tensor code was loaded" in said, "no tensor code" in again) == (True, True)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_an_evaluation_of_another_recipe_or_another_student_is_refused_in_one_line(folder, whole):
    before = (whole[0] / "recipe.yaml").read_bytes()
    said = turnmix(folder, "evaluate", "nano-student", "small.yaml", "seed=3", code=2)
    assert (
        "seed: 3, but the evaluation in evaluations/nano-student-small was begun with 0: name another" in said
    )
    other = ("evaluate", "nano-teacher", "small.yaml", "--output", "evaluations/nano-student-small")
    said = turnmix(folder, *other, code=2)
    assert "turnmix: student: " in said
    assert "nano/checkpoint, whose files are others: name another directory with --output" in said
    assert (said.count("turnmix: "), (whole[0] / "recipe.yaml").read_bytes()) == (1, before)


def test_a_student_is_known_by_its_files_wherever_they_lie(folder):
    words = ("small.yaml", "evaluation.tasks=1", "scaffold.max_turns=1", "--output", "moved")
    shutil.copytree(model_location("nano-student", field="student.model"), folder / "here")
    turnmix(folder, "evaluate", "here", *words)
    (folder / "here").rename(folder / "there")
    assert "1/1 found on disk" in turnmix(folder, "evaluate", "there", *words)
    weights = folder / "there" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "whose files are others" in turnmix(folder, "evaluate", "there", *words, code=2)


def test_show_opens_an_evaluation_and_its_trajectories(folder, whole):
    said = turnmix(folder, "show", "evaluations/nano-student-small")
    assert "evaluated by small.yaml, complete" in said
    assert figures_in(whole[1])[1] in said
    assert "8 of the 12 evaluations, a sample" in said
    assert "e000-00011" in turnmix(folder, "show", "evaluations/nano-student-small", "e000-00011")


def test_an_evaluation_is_no_run(folder, whole):
    for words in (("train", "--resume"), ("evaluate",)):
        said = turnmix(folder, *words, "evaluations/nano-student-small", code=2)
        assert "evaluations/nano-student-small holds an evaluation, not a run" in said


def test_what_cannot_be_evaluated_leaves_no_directory_behind(folder):
    (folder / "hollow").mkdir()
    assert "hollow cannot be loaded" in turnmix(folder, "evaluate", "hollow", "small.yaml", code=2)
    turnmix(
        folder,
        "evaluate",
        "nano-student",
        "small.yaml",
        "tasks={path: none.jsonl}",
        "--output",
        "none",
        code=2,
    )
    assert not (folder / "evaluations" / "hollow-small").exists()
    assert not (folder / "none").exists()
