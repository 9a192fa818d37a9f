"""The command line as a user meets it: in a process of its own."""

import os
import subprocess
import sys

import pytest
import yaml

import turnmix
from turnmix.config import load_recipe, recipe_yaml
from turnmix.core.message import Message
from turnmix.core.trajectory import StopReason, Trajectory, Turn
from turnmix.policies.scripted import text_action
from turnmix.store.run_directory import RunDirectory


@pytest.fixture
def turnmix_in(tmp_path):
    (tmp_path / "one.yaml").write_text("method: dagger\ntasks: {train: 30, holdout: 5}\n")

    def run(*arguments):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        command = [
            sys.executable,
            "-c",
            "import sys; from turnmix.cli import main; sys.exit(main())",
            *arguments,
        ]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_version_and_help_need_no_tensor_code(turnmix_in):
    assert turnmix_in("--version") == (0, f"turnmix {turnmix.__version__}\n", "")
    code, out, _ = turnmix_in("--help")
    assert code == 0
    assert all(command in out for command in ("train", "evaluate", "show", "tasks"))
    heavy = (
        "import sys, turnmix.cli\nassert not {'torch', 'transformers', 'rich', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", heavy], check=True)


def test_a_dry_run_prints_the_recipe_with_every_default(turnmix_in):
    code, out, err = turnmix_in("train", "one.yaml", "--dry-run", "learner.epochs=7")
    assert (code, err) == (0, "")
    shown = yaml.safe_load(out)
    assert (shown["learner"]["epochs"], shown["learner"]["batch_size"], shown["mixture"]["floor"]) == (
        7,
        16,
        0.6,
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("train",), "name a recipe"),
        (("train", "absent.yaml"), "recipe 'absent.yaml' not found"),
        (("train", "one.yaml", "learner.epoch=1"), "did you mean 'epochs'?"),
        (("train", "one.yaml", "two.yaml"), "'two.yaml' is one name too many"),
        (("train", "one.yaml", "--run", "a", "--resume", "b"), "leave --run out"),
        (("train", "--resume", "nowhere"), "nowhere holds no run"),
        (("train", "one.yaml", "--run", "taken"), "taken is not empty"),
        (("train", "one.yaml", "student.model=./absent"), "student.model: ./absent cannot be loaded"),
        (("train", "one.yaml", "student.device=gpu"), "student.device: 'gpu': "),
        (("train", "one.yaml", "--quick"), "unknown argument '--quick'"),
        (("trian",), "invalid choice"),
        (("show", "nowhere"), "nowhere holds no run"),
        (("tasks", "one.yaml", "absent"), "no task 'absent'"),
        (("evaluate", "./model"), "name a recipe too"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(turnmix_in, tmp_path, arguments, complaint):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    code, out, err = turnmix_in(*arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.startswith("turnmix: ")
    assert err.count("\n") == 1


def test_a_run_of_another_recipe_is_not_resumed(turnmix_in, tmp_path):
    recipe = recipe_yaml(load_recipe(str(tmp_path / "one.yaml")))
    RunDirectory.create(tmp_path / "run", recipe_yaml=recipe).close()
    code, _, err = turnmix_in("train", "--resume", "run", "seed=3")
    assert code == 2
    assert "seed: 3, but the run in run was begun with 0" in err


def test_tasks_are_listed_and_one_is_printed(turnmix_in):
    code, out, _ = turnmix_in("tasks", "one.yaml", "--limit", "2")
    assert code == 0
    assert "train: 30 tasks" in out
    assert "… 28 more: --limit 30" in out
    task_id = out.split("\n")[1].split()[0]
    code, out, _ = turnmix_in("tasks", "one.yaml", task_id)
    assert code == 0
    assert out.startswith(task_id)
    assert "def " in out


def test_a_run_and_a_trajectory_are_shown(turnmix_in, tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="method: dagger\n")
    turn = Turn(actor="student", action=text_action("left"), observation=(), label=text_action("right"))
    run.trajectories.append(
        Trajectory(
            id="i001-00000",
            task_id="task",
            iteration=1,
            seed=0,
            tools=(),
            prompt=(Message(role="user", content="problem"),),
            turns=(turn,),
            stop_reason=StopReason.max_turns,
            verdict=None,
        )
    )
    run.close()
    code, out, _ = turnmix_in("show", "run")
    assert code == 0
    assert "i001-00000" in out
    code, out, _ = turnmix_in("show", "run", "i001-00000")
    assert code == 0
    assert "turn 1  student  ≠ teacher" in out
    code, _, err = turnmix_in("show", "run", "i001-00001")
    assert code == 2
    assert "did you mean 'i001-00000'?" in err


def test_a_reader_that_leaves_early_is_no_failure(tmp_path):
    (tmp_path / "one.yaml").write_text("method: dagger\n")
    python = f"{sys.executable} -c 'import sys; from turnmix.cli import main; sys.exit(main())'"
    command = f"set -o pipefail; {python} train one.yaml --dry-run | true"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
