"""Tasks in images from the command line: prepared, rolled out, evaluated, graded; nothing is left running."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("swebench", reason="grading in images needs swebench: pip install 'turnmix[swe]'")

from container_runtime import expect_none_left_behind, left_behind, needs_containers, settings
from shelf_image import base_commit, shelf_image, shelf_row
from test_image_grading import WRONG

from published_rows import GOLD, gym_row
from turnmix.cli.grade import grade_predictions
from turnmix.core.errors import InfrastructureError
from turnmix.environments.repositories.task_file import load_rows, split_rows, write_rows
from warm_python import run_turnmix

pytestmark = needs_containers


def turnmix(folder, *words, code=0):
    done = run_turnmix(*words, cwd=folder, timeout=400)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.fixture
def recipe(tmp_path):
    """A recipe with a published set of six tasks, one of them broken."""
    rows = [gym_row(instance_id=f"Project-MONAI__MONAI-{n}", base_commit=base_commit()) for n in range(5)]
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows, gym_row(instance_id="a__b-9", FAIL_TO_PASS="[")])
    )
    path = tmp_path / "shelf.yaml"
    path.write_text(
        f"""\
method: dagger
iterations: 2
tasks: {{path: data/tasks.jsonl, dataset: {{rows: rows.jsonl, adapter: swe-gym}}, holdout: 2}}
sandbox: {{kind: container, container: {{socket: "{settings().socket}", pull: never, cpus: 2.0}}}}
scaffold: {{max_turns: 12, max_tokens: 8192, prompt: {{name: codeact}}}}
student: {{model: nano-student, cohort_size: 4, max_new_tokens: 48}}
mixture: {{kind: dagger, floor: 0.5, decay: 0.5}}
rollouts: {{tasks_per_iteration: 3, concurrency: 3}}
learner: {{epochs: 1, batch_size: 2}}
evaluation: {{tasks: 2, base: false, every: 9}}
"""
    )
    return path


def prepared(recipe):
    """The task file, with the image that was made here in the place of the published ones."""
    said = turnmix(recipe.parent, "tasks", "prepare", "shelf.yaml")
    path = recipe.parent / "data" / "tasks.jsonl"
    rows = load_rows(path)
    published = {row.image for row in rows}
    write_rows(path, [row.model_copy(update={"image": shelf_image()}) for row in rows])
    return said, published


def test_a_set_is_prepared_with_each_bad_row_named_and_images_looked_for(recipe):
    said, published = prepared(recipe)
    assert "5 tasks in data/tasks.jsonl" in said
    assert "rejected: row 6 (a__b-9): FAIL_TO_PASS: neither a list nor a JSON string of one" in said
    assert "images: 0 of 5 are here" in said
    assert "xingyaoww/sweb.eval.x86_64.project-monai_s_monai-0:latest" in published
    assert "tasks.dataset.rows: there is no file" in turnmix(
        recipe.parent, "tasks", "prepare", "shelf.yaml", "tasks.dataset.rows=none.jsonl", code=2
    )


def test_the_doctor_finds_an_image_that_is_not_here(recipe):
    turnmix(recipe.parent, "tasks", "prepare", "shelf.yaml")
    said = turnmix(recipe.parent, "doctor", "shelf.yaml", code=1)
    assert "FAIL sandbox, images: 0 of 5 images are here" in said
    assert "ok   tasks: 3 to train on, 2 held out" in said


def test_two_iterations_of_dagger_and_an_evaluation_on_tasks_in_images(recipe):
    prepared(recipe)
    turnmix(recipe.parent, "train", "shelf.yaml", "--run", "run")
    summary = json.loads((recipe.parent / "run" / "summary.json").read_text())
    assert summary["is_complete"]
    first, second = (entry for entry in summary["iterations"] if entry["iteration"])
    assert (first["rollouts"], first["resolved"]) == (3, 3)  # β is 1: the oracle acts alone
    assert second["infra_errors"] == 0
    trajectories = [
        json.loads(line) for line in (recipe.parent / "run/trajectories.jsonl").read_text().splitlines()
    ]
    actors = {turn["actor"] for entry in trajectories if entry["iteration"] == 2 for turn in entry["turns"]}
    assert actors == {"student", "teacher"}
    said = turnmix(recipe.parent, "evaluate", "run")
    evaluation = "run/evaluations/own-iteration-002"
    assert f"2 patches in {evaluation}/predictions.jsonl" in said
    predictions = [
        json.loads(line)
        for line in (recipe.parent / evaluation / "predictions.jsonl").read_text().splitlines()
    ]
    assert all(
        set(p) - {"unfinished"} == {"instance_id", "model_name_or_path", "model_patch"} for p in predictions
    )
    assert "of 5 tasks, 2 were predicted" in turnmix(
        recipe.parent, "grade", f"{evaluation}/predictions.jsonl", f"{evaluation}/recipe.yaml"
    )
    expect_none_left_behind()


def test_any_file_of_predictions_is_graded_also_one_made_elsewhere(tmp_path):
    rows = [shelf_row(name) for name in ("Shelf__a-1", "Shelf__a-2", "Shelf__a-3")]
    write_rows(tmp_path / "tasks.jsonl", rows)
    other = {"model_name_or_path": "somebody", "cost": 3}
    patches = {"shelf__A-1": GOLD, "Shelf__a-2": WRONG, "Shelf__a-3": None, "Other__b-4": GOLD}
    lines = [{"instance_id": name, "model_patch": patch, **other} for name, patch in patches.items()]
    file = tmp_path / "predictions.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("grade", "predictions.jsonl", "tasks.jsonl", f"sandbox.container.socket={settings().socket}")
    said = turnmix(tmp_path, *words)
    assert "Shelf__a-1: resolved, 2 of 2 tests" in said
    assert "Shelf__a-2: unresolved, 1 of 2 tests" in said
    assert "Shelf__a-3: empty patch, 0 of 2 tests" in said
    assert "resolved: 1 of 3 = 33.3%" in said
    assert "1 predictions are for other tasks, such as Other__b-4" in said
    book = tmp_path / "predictions.jsonl.verdicts.jsonl"
    before = book.read_text()
    again = turnmix(tmp_path, *words)
    # A prediction without a patch has a verdict that is as quickly made as found.
    assert "3 of 3 verdicts found in" in again
    assert "resolved: 1 of 3 = 33.3%" in again
    assert "--again" not in turnmix(tmp_path, *words, "--again")
    assert book.read_text() == before
    file.write_text('{"instance_id": "x"}\n')
    assert "model_patch: Field required" in turnmix(tmp_path, *words, code=2)


def inside(container, command):
    """Whether a command succeeds there."""
    words = ["podman", "exec", container["Id"], "sh", "-c", command]
    return subprocess.run(words, capture_output=True).returncode == 0


@pytest.mark.parametrize("deaths", [1, 9], ids=["once", "at every attempt"])
def test_a_patch_whose_container_dies_is_graded_again_and_never_called_unresolved(tmp_path, deaths, capsys):
    row = shelf_row("Shelf__a-1")
    waits = "touch /begun; while [ ! -e /go ]; do sleep 0.1; done 2>/dev/null"
    slow = row.evaluation_script.replace("\n", f"\n{waits}\n", 1)
    write_rows(tmp_path / "tasks.jsonl", [row.model_copy(update={"evaluation_script": slow})])
    file = tmp_path / "predictions.jsonl"
    line = {"instance_id": "Shelf__a-1", "model_name_or_path": "somebody", "model_patch": GOLD}
    file.write_text(json.dumps(line) + "\n")
    words = (str(tmp_path / "tasks.jsonl"), f"sandbox.container.socket={settings().socket}")
    killed = set()
    with ThreadPoolExecutor(1) as pool:
        grading = pool.submit(grade_predictions, str(file), words=words)
        while not grading.done():
            for container in left_behind():
                if container["Id"] in killed or not inside(container, "test -e /begun"):
                    continue
                if len(killed) < deaths:
                    subprocess.run(["podman", "kill", container["Id"]], check=True, capture_output=True)
                    killed.add(container["Id"])
                else:
                    inside(container, "touch /go")
            time.sleep(0.05)
    said = " ".join(capsys.readouterr().out.split())
    book = tmp_path / "predictions.jsonl.verdicts.jsonl"
    if deaths == 1:
        grading.result()
        assert "Shelf__a-1: resolved" in said
    else:
        assert isinstance(grading.exception(), InfrastructureError)
        assert "Shelf__a-1: not graded" in said
        assert not book.exists()
        assert len(killed) == 3
    expect_none_left_behind()


def to_grade(folder, rows, patches):
    """A file of predictions, and a recipe of their tasks with the words that it needs."""
    write_rows(folder / "tasks.jsonl", rows)
    lines = [
        {"instance_id": row.instance_id, "model_name_or_path": "somebody", "model_patch": patch}
        for row, patch in zip(rows, patches)
    ]
    file, recipe = folder / "predictions.jsonl", folder / "shelf.yaml"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe.write_text(
        "method: sft\n"
        "tasks: {path: tasks.jsonl, holdout: all}\n"
        f'sandbox: {{kind: container, container: {{socket: "{settings().socket}", pull: never}}}}\n'
    )
    return str(file), (str(recipe), f"tasks.path={folder / 'tasks.jsonl'}")


def test_a_task_whose_image_is_not_there_is_not_graded_and_the_others_are(tmp_path, capsys):
    rows = [
        shelf_row("Shelf__a-1", image="localhost/turnmix-no-such-image:1"),
        shelf_row("Shelf__a-2"),
    ]
    file, words = to_grade(tmp_path, rows, [GOLD, GOLD])
    with pytest.raises(InfrastructureError, match="1 of 2 predictions could not be graded"):
        grade_predictions(file, words=words)
    said = " ".join(capsys.readouterr().out.split())
    assert "Shelf__a-1: not graded:" in said
    assert "Shelf__a-2: resolved" in said


def test_a_task_whose_log_nothing_here_reads_is_not_graded_and_the_others_are(tmp_path, capsys):
    rows = [shelf_row("Shelf__a-1", log_parser="parse_log_of_nobody"), shelf_row("Shelf__a-2")]
    file, words = to_grade(tmp_path, rows, [GOLD, GOLD])
    with pytest.raises(InfrastructureError, match="1 of 2 predictions could not be graded"):
        grade_predictions(file, words=words)
    said = " ".join(capsys.readouterr().out.split())
    assert "Shelf__a-1: not graded: log_parser: 'parse_log_of_nobody' is no parser" in said
    assert "Shelf__a-2: resolved" in said


def test_a_missing_image_is_an_infra_error_of_its_task_and_the_run_goes_on(recipe):
    prepared(recipe)
    path = recipe.parent / "data" / "tasks.jsonl"
    rows = load_rows(path)
    held_out = split_rows(rows, holdout=2, seed=0)["holdout"]
    lost = next(row for row in rows if row not in held_out)
    missing = lost.model_copy(update={"image": "localhost/turnmix-no-such-image:1"})
    write_rows(path, [missing if row is lost else row for row in rows])
    turnmix(recipe.parent, "train", "shelf.yaml", "iterations=1", "rollouts.attempts=2", "--run", "run")
    summary = json.loads((recipe.parent / "run" / "summary.json").read_text())
    (figures,) = (entry for entry in summary["iterations"] if entry["iteration"])
    assert (figures["rollouts"], figures["infra_errors"], figures["resolved"]) == (3, 1, 2)


def test_verdicts_made_in_other_sandboxes_are_not_taken_over(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file, words = to_grade(tmp_path, [shelf_row("Shelf__a-1")], [GOLD])

    def made_after(*overrides):
        grade_predictions(file, words=(*words, *overrides))
        return len(list((tmp_path / "state" / "turnmix" / "verdicts").glob("*/*.json")))

    assert made_after() == 1
    assert made_after("sandbox.container.starts=2", "sandbox.container.start_timeout=200") == 1
    assert made_after("sandbox.processes=600") == 2
    assert made_after("sandbox.container.cpus=2.0") == 3
    assert made_after("sandbox.processes=600") == 3
