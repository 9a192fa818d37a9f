"""The command line as a user meets it: in a process of its own."""

import os
import shutil
import subprocess
import sys
from contextlib import closing

import pytest
import yaml

import turnmix
from stored_checkpoints import store_checkpoint
from strict_environment import strict_environment
from turnmix.cli.parser import make_parser
from turnmix.core.message import Message
from turnmix.core.trajectory import StopReason, Trajectory, Turn
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.nano import CHECKPOINT
from turnmix.policies.scripted import text_action
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.store.run_directory import RunDirectory
from warm_python import keep_warm, run_turnmix


@pytest.fixture
def turnmix_in(tmp_path):
    (tmp_path / "one.yaml").write_text("method: dagger\ntasks: {train: 30, holdout: 5}\n")

    def run(*arguments):
        done = run_turnmix(*arguments, cwd=tmp_path)
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


def test_every_help_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parser, commands = make_parser()
    for each in (parser, *commands.values()):
        assert max(map(len, each.format_help().splitlines())) <= 80


def test_a_dry_run_prints_the_recipe_with_every_default(turnmix_in):
    code, out, err = turnmix_in("train", "one.yaml", "--dry-run", "learner.epochs=7")
    assert (code, err) == (0, "")
    shown = yaml.safe_load(out)
    assert (shown["learner"]["epochs"], shown["learner"]["batch_size"], shown["mixture"]["floor"]) == (
        7,
        16,
        0.6,
    )


def test_what_another_method_leaves_out_is_one_line_on_standard_error_and_the_recipe_stays_yaml(turnmix_in):
    code, out, err = turnmix_in("train", "minirepo_dagger", "method=sft", "--dry-run")
    shown = yaml.safe_load(out)
    assert (code, shown["method"], shown["mixture"]["kind"]) == (0, "sft", "teacher")
    assert (shown["data"]["filter"], shown["rollouts"]["tasks_per_iteration"]) == ("resolved", 144)
    (line,) = err.splitlines()
    assert line.startswith("note: method=sft: mixture and data.filter of ")
    assert line.endswith("minirepo_dagger.yaml are left out, since they belong to dagger")


def test_a_recipe_that_contradicts_its_method_runs_nothing(turnmix_in, tmp_path):
    code, out, err = turnmix_in("train", "minirepo", "method=grpo", "mixture.kind=dagger")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "mixture.kind: 'dagger': grpo learns from rollouts of the mixture 'student'" in err
    assert not (tmp_path / "runs").exists()


def test_an_explained_recipe_is_printed_and_nothing_is_run(turnmix_in, tmp_path):
    code, out, err = turnmix_in("train", "one.yaml", "--explain", "learner.epochs=7")
    assert (code, err) == (0, "")
    assert "# Passes over one batch of transitions. (integer ≥ 1)\n  epochs: 7\n" in out
    assert yaml.safe_load(out) == yaml.safe_load(
        turnmix_in("train", "one.yaml", "--dry-run", "learner.epochs=7")[1]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["one.yaml"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("train",), "name a recipe"),
        (("train", "absent.yaml"), "recipe 'absent.yaml' not found"),
        (("train", "one.yaml", "learner.epoch=1"), "did you mean 'epochs'?"),
        (("train", "one.yaml", "two.yaml"), "'two.yaml' is one name too many"),
        (
            ("train", "one.yaml", "--iterations", "2"),
            "--iterations is a setting, not an option: write iterations=2",
        ),
        (
            ("train", "one.yaml", "--lr=1e-3"),
            "--lr is a setting, not an option: write learner.learning_rate=1e-3",
        ),
        (("train", "one.yaml", "--set", "iterations=2"), "a setting needs none: write 'iterations=2' alone"),
        (("train", "--config-name=one"), "the recipe needs none: `turnmix train RECIPE`"),
        (("train", "one.yaml", "+iterations=2"), "no sign before it: write 'iterations=2'"),
        (("train", "one.yaml", "extends=minirepo_sft"), "name that recipe instead of one.yaml"),
        (("train", "one.yaml", "teacher={kind:", "oracle}"), "put quotes around a setting that holds spaces"),
        (("train", "one.yaml", "iterations", "=", "2"), "key=value without spaces: write 'iterations=2'"),
        (("train", "one.yaml", "iterations=", "2"), "key=value without spaces: write 'iterations=2'"),
        (("train", "one.yaml", "iterations", "=2"), "key=value without spaces: write 'iterations=2'"),
        (("train", "one.yaml", "iterations", "2"), "with an equals sign: write 'iterations=2'"),
        (("train", "one.yaml", "iterations:", "2"), "with an equals sign: write 'iterations=2'"),
        (
            ("train", "one.yaml", "iterations=2,", "seed=3"),
            "'iterations=2,': write key=value, and a space, not a comma",
        ),
        (("train", "one.yaml", "student.model=nano-studnt"), "did you mean 'nano-student'?"),
        (("train", "one.yaml", "--beta", "0.5"), "--beta: β of iteration i is max(mixture.floor, "),
        (("evaluate", "one.yaml"), "'one.yaml' is a recipe: name a run or a model before it"),
        (("show", "taken", "--failed"), "did you mean --unresolved?"),
        (("train", "one.yaml", "--dryrun"), "did you mean --dry-run?"),
        (("train", "one.yaml", "--output", "x"), "did you mean --run DIR?"),
        (("--verbose",), "options stand behind a command"),
        (("evl",), "'evl' is no command: use one of train, gateway, evaluate, "),
        (("run", "one.yaml"), "did you mean `turnmix train`?"),
        (("resume", "runs/x"), "did you mean `turnmix train --resume RUN`?"),
        (("one.yaml",), "did you mean `turnmix train one.yaml`?"),
        (("train", "one.yaml", "--run", "a", "--resume", "b"), "leave --run out"),
        (("train", "--resume", "nowhere"), "nowhere holds no run"),
        (("train", "one.yaml", "--run", "taken"), "taken is not empty"),
        (("train", "one.yaml", "student.model=./absent"), "student.model: ./absent: no such directory"),
        (
            ("train", "one.yaml", "student.model=/absent/model"),
            "student.model: /absent/model: no such directory",
        ),
        (("train", "one.yaml", "student.model=one.yaml/"), "student.model: one.yaml/: "),
        (
            ("train", "one.yaml", "student.device=mps"),
            "student.device: 'mps': must be cpu, cuda or, of several",
        ),
        (("train", "one.yaml", "--run", "taken", "student.device=tpu"), "student.device: 'tpu': must be"),
        (
            ("train", "one.yaml", "--run", "taken", "student.model=./absent"),
            "student.model: ./absent: no such",
        ),
        (("train", "one.yaml", "--quick"), "unknown argument '--quick'"),
        (("trian",), "did you mean `turnmix train`?"),
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


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_gpu_that_is_not_here_is_told_with_what_to_write_install_or_look_at(turnmix_in, name):
    import torch

    code, _, err = turnmix_in("train", "one.yaml", f"student.device={name}")
    assert code == 2
    assert err.count("\n") == 1
    assert f"student.device: {name!r}: " in err
    if torch.version.cuda is None:
        assert "is a build for CPUs alone" in err
        assert "pip install --force-reinstall torch" in err
    assert ("write cuda" in err) == (name == "gpu")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ev", ["evaluate"]),
        ("train minirepo_d", ["minirepo_dagger"]),
        ("train o", ["one.yaml", "objective="]),
        ("train one.yaml learner.learning", ["learner.learning_rate="]),
        ("train one.yaml method=a", ["aggrevate"]),
        ("train one.yaml sandbox.kind=c", ["container"]),
        ("train --resume ", ["runs/first"]),
        ("show runs/first i001-0000", ["i001-00003"]),
        ("show runs/first --stop-reason max", ["max_turns"]),
        ("tasks make --from-rep", ["--from-repository"]),
    ],
)
def test_a_shell_is_offered_commands_recipes_settings_values_runs_and_trajectories(tmp_path, line, offered):
    (tmp_path / "one.yaml").write_text("method: sft\n")
    run = RunDirectory.create(tmp_path / "runs" / "first", recipe_yaml="method: sft\n")
    run.trajectories.append(trajectory("i001-00003"))
    run.close()
    line = f"turnmix {line}"
    shell = {
        **{"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SHELL": "bash"},
        **{
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n\"'><=;|&(:",
        },
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "offered"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "turnmix"], cwd=tmp_path, env={**os.environ, **shell}, timeout=400
    )
    assert done.returncode == 0
    found = [word.strip() for word in (tmp_path / "offered").read_text().split("\n")]
    assert set(offered) <= set(found)
    assert all(word.startswith(line.split()[-1].partition("=")[2]) for word in found if line[-1] != " ")


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_turnmix_alone_prints_its_help(turnmix_in, arguments):
    code, out, err = turnmix_in(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("usage: turnmix")


@pytest.mark.parametrize(
    "word",
    [
        "teacher.api_key=sk-hush-0123456789",
        "OPENAI_API_KEY=hush",
        "teacher.api_key_environment=sk-hush-0123456789",
        "--api-key=hush",
        "--teacher.api_key=hush",
        "sk-hush-0123456789",
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(turnmix_in, word):
    code, out, err = turnmix_in("train", "one.yaml", word)
    assert (code, out) == (2, "")
    assert "hush" not in err
    assert "history now keeps it" in err or word.startswith("sk-")
    assert err.count("\n") == 1


def test_a_key_within_a_setting_is_warned_of_and_not_repeated(turnmix_in):
    words = ("teacher.endpoint=http://me:hush@127.0.0.1:1/v1", "teacher.model=m", "teacher.kind=endpoint")
    code, out, err = turnmix_in("train", "one.yaml", *words, "--dry-run")
    assert code == 0
    assert err.startswith(
        "turnmix: warning: teacher.endpoint holds what looks like a key; the shell's history"
    )
    assert "hush" not in out + err


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "tasks={path: absent.jsonl}",
            "tasks.path: absent.jsonl is not there; make it with: turnmix tasks make",
        ),
        ("tasks={path: broken.jsonl}", "tasks.path: broken.jsonl: line 1 (no instance_id): not JSON"),
        ("scaffold.prompt.system_file=absent.txt", "scaffold.prompt.system_file: cannot read absent.txt"),
    ],
)
def test_a_mistake_in_what_a_recipe_names_leaves_no_run_behind(turnmix_in, tmp_path, override, complaint):
    (tmp_path / "broken.jsonl").write_text("{\n")
    code, _, err = turnmix_in("train", "one.yaml", override, "--run", "run")
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def folder_of_the_hub(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


@pytest.fixture
def hub(folder_of_the_hub, monkeypatch):
    """A hub that cannot be reached: the folder of what it gave before."""
    monkeypatch.setenv("HF_HOME", str(folder_of_the_hub))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    keep_warm(strict_environment())
    return folder_of_the_hub / "hub"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("train", "one.yaml", "student.model=some/model"),
            "student.model: some/model is not on this machine",
        ),
        (("evaluate", "some/model", "one.yaml"), "student.model: some/model is not on this machine"),
        (
            ("tasks", "prepare", "one.yaml", "tasks={path: a.jsonl, dataset: {rows: SWE-Gym/SWE-Gym}}"),
            "tasks.dataset.rows: the hub did not give SWE-Gym/SWE-Gym (train): the hub cannot be reached",
        ),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_hub_that_cannot_be_reached_is_asked_once_and_said_in_one_line(turnmix_in, arguments, complaint):
    if arguments[0] == "tasks":
        pytest.importorskip("datasets", reason="published sets need turnmix[swe]")
    code, _, err = turnmix_in(*arguments)
    assert code in (1, 2)
    assert complaint in err
    assert err.count("\n") == 1


def test_what_the_hub_gave_before_is_used_where_it_cannot_be_reached(turnmix_in, hub):
    model = hub / "models--another--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("a" * 40)
    shutil.copytree(CHECKPOINT, model / "snapshots" / ("a" * 40))
    words = ("scaffold.max_turns=1", "student.max_new_tokens=4", "evaluation.tasks=1")
    code, out, err = turnmix_in("evaluate", "another/model", "one.yaml", *words)
    assert (code, err) == (0, "")
    assert "of 1" in out or "0/1" in out


def finished_run(path, recipe):
    """A run in which nothing is left to do."""
    run = RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe))
    for iteration in range(1, recipe.iterations + 1):
        store_checkpoint(run.checkpoint(iteration))
    for iteration in range(40):
        run.trajectories.append(trajectory(f"i001-{iteration:05}"))
    run.write_summary(
        {
            "method": "dagger",
            "seed": 0,
            "is_complete": True,
            "base": None,
            "iterations": [],
            "drift": {"turns": 0, "differing": 0},
            "wall_seconds": 3.1,
        }
    )
    run.close()
    return path


def test_a_complete_run_is_resumed_at_once_and_its_clock_stands_still(turnmix_in, tmp_path):
    run = finished_run(tmp_path / "run", load_recipe(str(tmp_path / "one.yaml")))
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    code, out, err = turnmix_in("train", "--resume", "run")
    assert (code, err) == (0, "")
    assert "Took 3.1 s. Results lie in run" in out
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


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


def trajectory(name, **changes):
    turn = Turn(actor="student", action=text_action("left"), observation=(), label=text_action("right"))
    fields = {
        "id": name,
        "task_id": "task",
        "iteration": 1,
        "seed": 0,
        "tools": (),
        "prompt": (Message(role="user", content="problem"),),
        "turns": (turn,),
        "stop_reason": StopReason.max_turns,
        "verdict": None,
    }
    return Trajectory(**{**fields, **changes})


def test_a_run_and_a_trajectory_are_shown(turnmix_in, tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="method: dagger\n")
    run.trajectories.append(trajectory("i001-00000"))
    run.close()
    code, out, _ = turnmix_in("show", "run")
    assert code == 0
    assert "i001-00000" in out
    assert "no stage has finished yet, not complete" in out
    assert "Go on with it: turnmix train --resume run\n" in out
    with closing(RunDirectory.resume(tmp_path / "run")):
        code, out, _ = turnmix_in("show", "run")
    assert "no stage has finished yet, being written" in out
    assert "--resume" not in out
    code, out, _ = turnmix_in("show", "run", "i001-00000")
    assert code == 0
    assert "turn 1  student  ≠ teacher" in out
    code, _, err = turnmix_in("show", "run", "i001-00001")
    assert code == 2
    assert "did you mean 'i001-00000'?" in err


@pytest.mark.parametrize("summary", ["{}", '{"is_complete": true, "wall_seconds": "x"}', "[]", "{"])
def test_a_summary_that_is_none_is_told_with_how_to_have_it_again(turnmix_in, tmp_path, summary):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="method: dagger\n")
    run.close()
    (tmp_path / "run" / "summary.json").write_text(summary)
    code, _, err = turnmix_in("show", "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "delete it, and go on with: turnmix train --resume run" in err


def verdict(resolved):
    return patch_verdict(resolved=resolved, submitted=True, passed=1, failed=0)


def test_a_run_is_shown_by_a_fair_sample_of_its_newest_trajectories_and_by_those_asked_for(
    turnmix_in, tmp_path
):
    task = "getmoto__moto.694ce1f4.combine_file__0zyhhzdr.and_a_very_long_name_that_never_ends__pr_1234"
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="method: dagger\n")
    for number in range(40):
        # The failures end last, as long trajectories do.
        run.trajectories.append(trajectory(f"i001-{number:05}", verdict=verdict(False), task_id="old"))
        run.trajectories.append(
            trajectory(f"i002-{number:05}", verdict=verdict(number < 30), task_id=task, iteration=2)
        )
    run.close()
    code, out, _ = turnmix_in("show", "run")
    assert code == 0
    assert "8 of the 40 rollouts, a sample: 30 resolved" in out
    listed = [line for line in out.splitlines() if line.startswith("i00")]
    assert [line.split()[-1] for line in listed].count("resolved") == 6
    assert all(line.startswith("i002") and "getmoto__moto" in line and "pr_1234" in line for line in listed)
    assert max(map(len, out.splitlines())) <= 80

    code, out, _ = turnmix_in("show", "run", "--unresolved", "--iteration", "2", "--limit", "4")
    assert "10 of 80 rollouts, a sample of 4: --limit 10 lists all" in out
    assert sum(line.startswith("i002") for line in out.splitlines()) == 4
    assert "i001" not in out
    assert "None of the 80 trajectories" in turnmix_in("show", "run", "--stop-reason", "stuck")[1]
    code, _, err = turnmix_in("show", "run", "--stop-reason", "max_turn")
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean 'max_turns'?" in err


@pytest.mark.parametrize("words", ["train one.yaml --dry-run", "train one.yaml --explain", "show run"])
def test_a_reader_that_leaves_early_is_no_failure(tmp_path, words):
    (tmp_path / "one.yaml").write_text("method: dagger\n")
    finished_run(tmp_path / "run", load_recipe(str(tmp_path / "one.yaml")))
    python = f"{sys.executable} -c 'import sys; from turnmix.cli import main; sys.exit(main())'"
    command = f"set -o pipefail; {python} {words} | true"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
