"""Runs and recipes that somebody else made, against whoever evaluates, resumes, grades or looks at them."""

import http.server
import json
import os
import random
import shutil
import stat
import threading

import pytest
import yaml
from scaffold_in_sandbox import needs_sandbox
from served_students import has_sandbox

from turnmix.cli import main
from turnmix.config import Recipe, load_recipe, recipe_yaml
from turnmix.found_recipe import HARMLESS, POWERFUL
from turnmix.setting_search import setting_names, settings_in
from turnmix.store.evaluation_directory import Evaluated, EvaluationDirectory
from turnmix.store.made_here import SEAL, is_made_here
from turnmix.store.run_directory import RunDirectory

SMALL = {
    "method": "dagger",
    "iterations": 1,
    "tasks": {"train": 8, "holdout": 2},
    "student": {"model": "nano-student", "cohort_size": 2, "max_new_tokens": 16},
    "scaffold": {"max_turns": 2},
    "rollouts": {"tasks_per_iteration": 2, "concurrency": 2, "attempts": 1},
    "evaluation": {"tasks": 2, "base": False},
}


def laid_over(below, above):
    merged = dict(below)
    for key, value in above.items():
        merged[key] = laid_over(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def strangers_run(folder, **sections):
    """A run as it comes out of somebody's archive, with these sections in its recipe."""
    run = folder / "strangers"
    run.mkdir()
    (run / "recipe.yaml").write_text(yaml.safe_dump(laid_over(SMALL, sections)))
    (run / "versions.json").write_text(json.dumps({"turnmix": "0", "begun": "2026-01-01T00:00:00"}))
    return run


def turnmix(capsys, *words):
    """The exit code, and all that was printed."""
    try:
        code = main([*map(str, words)])
    except SystemExit as ended:
        code = ended.code
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.fixture
def spy(tmp_path):
    """A program that notes that it was started, and what it was given."""
    program = tmp_path / "program.sh"
    program.write_text(f'#!/bin/sh\nenv > {tmp_path}/started\necho "$@" >> {tmp_path}/started\nexit 1\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def thief(tmp_path):
    """A server that keeps the headers of each request."""
    kept = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kept.append(dict(self.headers))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": []}')

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", kept
    server.shutdown()


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "{run}"],
        ["evaluate", "{run}/checkpoints/../checkpoints/iteration-001"],
        ["evaluate", "nano-student", "{run}/recipe.yaml"],
        ["train", "--resume", "{run}"],
        ["train", "{run}/recipe.yaml", "--run", "{folder}/another"],
        ["train", "{folder}/over.yaml", "--run", "{folder}/another"],
    ],
)
def test_the_program_of_a_found_recipe_is_not_started(command, tmp_path, spy, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = {"engine": "vllm", "program": str(spy), "start_timeout_seconds": 5}
    run = strangers_run(tmp_path, student={"server": server})
    shutil.copytree(_embedded_student(), run / "checkpoints" / "iteration-001")
    (tmp_path / "over.yaml").write_text("extends: strangers/recipe.yaml\n")
    code, said = turnmix(capsys, *(word.format(run=run, folder=tmp_path) for word in command))
    assert not (tmp_path / "started").exists(), said
    assert code == 2
    assert f"student.server.program={spy}" in said
    assert "Traceback" not in said


def test_arguments_and_variables_of_a_found_recipe_reach_no_program(tmp_path, spy, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = {
        "engine": "vllm",
        "arguments": ["--trust-remote-code"],
        "environment": {"LD_PRELOAD": "/tmp/x.so"},
        "start_timeout_seconds": 5,
    }
    run = strangers_run(tmp_path, student={"server": server})
    code, said = turnmix(capsys, "evaluate", run, f"student.server.program={spy}")
    assert (code, (tmp_path / "started").exists()) == (2, False)
    assert """'student.server.arguments=["--trust-remote-code"]'""" in said
    assert """'student.server.environment={"LD_PRELOAD": "/tmp/x.so"}'""" in said
    # One variable more does not say the others; all of them said in another way does.
    said_other = f"student.server.program={spy}", "student.server.arguments=[]"
    code, said = turnmix(capsys, "evaluate", run, *said_other, "student.server.environment.A=b")
    assert (code, (tmp_path / "started").exists()) == (2, False)
    assert "LD_PRELOAD" in said
    turnmix(capsys, "evaluate", run, *said_other, "student.server.environment={A: b}")
    started = (tmp_path / "started").read_text()
    assert "A=b" in started
    assert "LD_PRELOAD" not in started
    assert "--trust-remote-code" not in started


@pytest.mark.parametrize("section", ["student", "teacher"])
def test_no_key_goes_where_a_found_recipe_says(section, tmp_path, thief, capsys, monkeypatch):
    monkeypatch.setenv("OTHER_SECRET_KEY", "sk-of-the-user-0123456789")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user-9876543210")
    endpoint, kept = thief
    address = {"endpoint": endpoint, "api_key_environment": "OTHER_SECRET_KEY", "max_attempts": 1}
    sections = {
        "student": {"student": {"server": {**address, "engine": "vllm"}}},
        "teacher": {"teacher": {**address, "model": "m"}},
    }[section]
    run = strangers_run(tmp_path, **sections)
    for command in (["evaluate", run], ["train", "--resume", run], ["doctor", run / "recipe.yaml"]):
        if section == "teacher" and command[0] == "evaluate":
            continue  # nobody asks it
        code, said = turnmix(capsys, *command)
        assert code == 2
        assert f"{'student.server' if section == 'student' else 'teacher'}.endpoint={endpoint}" in said
        assert "api_key_environment=OTHER_SECRET_KEY" in said
    # The address alone said again does not say which key goes there.
    name = "student.server" if section == "student" else "teacher"
    code, said = turnmix(capsys, "train", "--resume", run, f"{name}.endpoint={endpoint}")
    assert (code, kept) == (2, [])
    assert "api_key_environment" in said


@needs_sandbox
def test_agents_run_unsandboxed_only_where_the_command_line_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = strangers_run(tmp_path, sandbox={"kind": "none"})
    code, said = turnmix(capsys, "evaluate", run)
    assert code == 2
    assert "sandbox.kind=none" in said
    assert not (run / "evaluations").exists()
    assert turnmix(capsys, "evaluate", run, "sandbox.kind=bubblewrap", "--output", tmp_path / "a")[0] == 0
    assert turnmix(capsys, "evaluate", run, "sandbox.kind=none", "--output", tmp_path / "b")[0] == 0
    # What was said once was said of that call.
    assert turnmix(capsys, "evaluate", run, "--output", tmp_path / "c")[0] == 2


@pytest.mark.parametrize(
    ("sections", "word"),
    [
        (
            {"sandbox": {"kind": "container", "container": {"image": "i", "socket": "unix:///tmp/x.sock"}}},
            "sandbox.container.socket=unix:///tmp/x.sock",
        ),
        (
            {"sandbox": {"kind": "container", "container": {"image": "i", "network": "host"}}},
            "sandbox.container.network=host",
        ),
        ({"sandbox": {"memory_bytes": 1 << 50}}, f"sandbox.memory_bytes={1 << 50}"),
        ({"sandbox": {"processes": 10**9}}, f"sandbox.processes={10**9}"),
        (
            {"scaffold": {"prompt": {"system_file": "/etc/passwd"}}},
            "scaffold.prompt.system_file=/etc/passwd",
        ),
        (
            {"tasks": {"train": None, "path": "~/private.jsonl", "source": "file"}},
            "tasks.path=~/private.jsonl",
        ),
    ],
)
def test_what_opens_the_box_or_reads_other_files_is_named_with_the_word_that_says_it_again(
    sections, word, tmp_path, capsys
):
    small = {key: value for key, value in SMALL.items() if key != "tasks" or "tasks" not in sections}
    run = strangers_run(tmp_path)
    sections = {**sections, **({"tasks": {"path": "~/private.jsonl"}} if "tasks" in sections else {})}
    (run / "recipe.yaml").write_text(yaml.safe_dump(laid_over(small, sections)))
    code, said = turnmix(capsys, "evaluate", run)
    assert code == 2
    assert word in said.replace("'", "")
    assert load_recipe(str(run / "recipe.yaml"), [word]) is not None


def test_trackers_of_a_found_run_start_only_where_they_are_named_again(tmp_path, capsys):
    run = strangers_run(tmp_path, trackers=["wandb"])
    code, said = turnmix(capsys, "train", "--resume", run)
    assert code == 2
    assert """'trackers=["wandb"]'""" in said


def test_a_recipe_here_with_the_name_of_one_that_comes_with_the_package_does_not_speak_for_the_user(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "minirepo_dagger.yaml").write_text("method: dagger\nsandbox: {kind: none}\n")
    code, said = turnmix(capsys, "train", "minirepo_dagger", "--dry-run")
    assert code == 2
    assert "sandbox.kind=none" in said
    assert turnmix(capsys, "train", "recipes/minirepo_dagger.yaml", "--dry-run")[0] == 0


@needs_sandbox
def test_who_made_a_run_here_is_asked_nothing_until_it_is_moved_or_changed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump(laid_over(SMALL, {"sandbox": {"kind": "none"}})))
    assert turnmix(capsys, "train", recipe, "--run", "runs/a")[0] == 0
    run = tmp_path / "runs" / "a"
    (run / "summary.json").unlink()
    assert turnmix(capsys, "train", "--resume", "runs/a")[0] == 0
    assert turnmix(capsys, "evaluate", "runs/a")[0] == 0
    assert is_made_here(run / "evaluations" / "own-iteration-001" / "recipe.yaml")

    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    code, said = turnmix(capsys, "train", "--resume", moved)
    assert code == 2
    assert "sandbox.kind=none" in said
    (moved / "summary.json").unlink()
    assert turnmix(capsys, "train", "--resume", moved, "sandbox.kind=none")[0] == 0
    assert turnmix(capsys, "evaluate", moved)[0] == 0

    changed = (run / "recipe.yaml").read_text() + "\n"
    (run / "recipe.yaml").write_text(changed)
    assert turnmix(capsys, "train", "--resume", "runs/a")[0] == 2
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-another-user"))
    assert turnmix(capsys, "train", "--resume", moved)[0] == 2


def test_a_seal_is_worth_nothing_without_the_secret_which_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    text = recipe_yaml(Recipe.model_validate(SMALL))
    RunDirectory.create(tmp_path / "run", recipe_yaml=text).close()
    secret = tmp_path / "state" / "turnmix" / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert is_made_here(tmp_path / "run" / "recipe.yaml")
    seal = (tmp_path / "run" / SEAL).read_text()
    for forged in ("", seal[:-1], seal + "0", seal.upper(), "\udce9".encode(errors="surrogateescape")):
        (tmp_path / "run" / SEAL).write_bytes(forged if isinstance(forged, bytes) else forged.encode())
        assert not is_made_here(tmp_path / "run" / "recipe.yaml"), forged
    (tmp_path / "run" / SEAL).write_text(seal)
    secret.chmod(0o644)  # others may have read it
    assert not is_made_here(tmp_path / "run" / "recipe.yaml")


def test_every_setting_that_may_be_any_text_is_known_to_be_powerful_or_harmless():
    unclassified = [
        name
        for name in setting_names(Recipe)
        if not _is_number_or_section(name) and name not in {*POWERFUL, *HARMLESS}
    ]
    assert unclassified == []
    assert {*POWERFUL, *HARMLESS} <= set(setting_names(Recipe))


def _is_number_or_section(name):
    from turnmix.setting_search import _walk

    annotations = [annotation for each, annotation in _walk(Recipe, "") if each == name]
    plain = {int, float, bool, type(None)}
    return all(list(settings_in(each)) or _types(each) <= plain for each in annotations)


def _types(annotation):
    from typing import get_args

    if not (arguments := get_args(annotation)):
        return {annotation}
    found = {each for argument in arguments for each in _types(argument)}
    return {each for each in found if isinstance(each, type)}


def _embedded_student():
    from turnmix.model_location import model_location

    return model_location("nano-student", field="student.model")


IN_A_RUN = [
    ".lock",
    ".made-here",
    "..made-here.partial",
    "trajectories.jsonl",
    "evaluations.jsonl",
    "scores.jsonl",
    "metrics.jsonl",
    "clock.json",
    ".clock.json.partial",
    "summary.json",
    ".summary.json.partial",
    "untaught.json",
    "trackers.json",
    ".trackers.json.partial",
    "student-server.log",
    "checkpoints",
    "checkpoints/iteration-001",
    "tensorboard",
    "wandb",
]


@needs_sandbox
@pytest.mark.parametrize("name", IN_A_RUN)
def test_no_link_in_a_run_that_is_gone_on_with_is_followed(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (run / name).parent.mkdir(exist_ok=True)
    is_directory = "." not in name.removeprefix(".").removeprefix("checkpoints/")
    (run / name).symlink_to(outside if is_directory and name != ".lock" else outside / "new")
    code, said = turnmix(capsys, "train", "--resume", run)
    assert list(outside.iterdir()) == []
    assert (code, "Traceback" in said) == (2, False)
    assert f"{run / name}: it is a symbolic link, which is not followed" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["trajectories.jsonl", "metrics.jsonl", ".lock"])
def test_no_file_that_has_another_name_outside_is_appended_to(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    (tmp_path / "victim").write_text("")
    (run / name).hardlink_to(tmp_path / "victim")
    code, said = turnmix(capsys, "train", "--resume", run)
    assert (code, (tmp_path / "victim").read_text()) == (2, "")
    assert "hard link" in said


@pytest.mark.parametrize("name", IN_A_RUN)
def test_a_pipe_in_the_place_of_a_file_stops_nobody(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    (run / name).parent.mkdir(exist_ok=True)
    os.mkfifo(run / name)
    code, said = turnmix(capsys, "train", "--resume", run)
    assert code == 2
    assert len(said.strip().splitlines()) == 1
    for command in (["show", run], ["show", run, "i001-00000"]):
        assert "Traceback" not in turnmix(capsys, *command)[1]


OF_AN_EVALUATION = [".lock", ".evaluation.json.partial", ".recipe.yaml.partial", ".versions.json.partial"]


@needs_sandbox
@pytest.mark.parametrize("name", ["", "own-base", *(f"own-base/{file}" for file in OF_AN_EVALUATION)])
def test_no_link_is_followed_when_an_evaluation_is_written_into_a_run(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    (run / "versions.json").unlink()  # nothing says that it is a run but that it is named as one
    outside = tmp_path / "outside"
    outside.mkdir()
    place = run / "evaluations" / name
    place.parent.mkdir(exist_ok=True, parents=True)
    place.symlink_to(outside / "new" if place.name.startswith(".") else outside)
    code, said = turnmix(capsys, "evaluate", run)
    assert list(outside.iterdir()) == []
    assert "Traceback" not in said
    if not name.endswith(".partial"):  # that is replaced
        assert code == 2
        assert "symbolic link" in said


def test_an_evaluation_stays_in_the_directory_that_was_opened_whatever_its_path_comes_to_mean(tmp_path):
    run = strangers_run(tmp_path)
    evaluated = Evaluated(
        student="s", weights=None, recipe="r", recipe_yaml=(run / "recipe.yaml").read_text()
    )
    directory = EvaluationDirectory.open(run / "evaluations" / "own", evaluated, run=run)
    (run / "evaluations").rename(run / "moved")
    outside = tmp_path / "outside"
    (outside / "own").mkdir(parents=True)
    (run / "evaluations").symlink_to(outside)
    directory.write_results({"n": 1})
    directory.write_predictions([], model="m")
    directory.close()
    assert list((outside / "own").iterdir()) == []
    assert (run / "moved" / "own" / "results.json").is_file()


def test_a_run_named_by_a_link_of_the_users_own_is_gone_on_with(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create(tmp_path / "a", recipe_yaml=recipe_yaml(Recipe.model_validate(SMALL)))
    run.close()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "wandb").mkdir()
    (tmp_path / "a" / "wandb" / "latest").symlink_to("../wandb")  # as trackers make them
    again = RunDirectory.resume(tmp_path / "link")
    again.record_stage("train", 1, {})
    again.close()
    assert is_made_here(tmp_path / "link" / "recipe.yaml")


@pytest.mark.parametrize("name", ["trajectories.jsonl", "summary.json", "recipe.yaml", "metrics.jsonl"])
def test_looking_at_a_run_shows_no_file_from_outside_of_it(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    secret = tmp_path / "private.jsonl"
    secret.write_text('{"id": "i001-00000", "task_id": "private", "prompt": []}\n')
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(secret)
    for command in (
        ["show", run],
        ["show", run, "i001-00000"],
        ["show", run, "--unresolved"],
        ["evaluate", run],
    ):
        said = turnmix(capsys, *command)[1]
        assert "private" not in said
        assert "Traceback" not in said


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run of one iteration that has ended, and an evaluation of it."""
    if not has_sandbox():
        pytest.skip("no sandbox can be made here")
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.yaml").write_text(yaml.safe_dump(laid_over(SMALL, {"data": {"filter": "all"}})))
    assert main(["train", str(folder / "small.yaml"), "--run", str(folder / "run")]) == 0
    assert main(["evaluate", str(folder / "run")]) == 0
    return folder / "run"


WRONG = [
    None,
    -1,
    1 << 70,
    10**400,
    float("nan"),
    float("-inf"),
    0.5,
    True,
    "x\x1b[31m\n",
    [],
    [[]],
    {},
    {"a": None},
]
EVALUATED = "evaluations/own-iteration-001"
READ_BY_SHOW = {
    "trajectories.jsonl": [["{run}"], ["{run}", "i001-00000"], ["{run}", "--unresolved"]],
    "summary.json": [["{run}"]],
    "clock.json": [["{run}"]],
    f"{EVALUATED}/evaluation.json": [[f"{{run}}/{EVALUATED}"]],
    f"{EVALUATED}/results.json": [[f"{{run}}/{EVALUATED}"]],
}


def places(value, above=()):
    yield above
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*above, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*above, 0))


def replaced(value, place, wrong):
    if not place:
        return wrong
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[place[0]] = replaced(value[place[0]], place[1:], wrong)
    return copied


@pytest.mark.parametrize("name", READ_BY_SHOW)
def test_whatever_a_record_holds_showing_it_ends_in_figures_or_in_one_line(name, whole_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    first, *others = (
        (run / name).read_text().splitlines() if name.endswith("l") else [(run / name).read_text()]
    )
    record = json.loads(first)
    generator = random.Random(name)
    for _ in range(60):
        place, wrong = generator.choice(list(places(record))), generator.choice(WRONG)
        changed = json.dumps(replaced(record, place, wrong))
        (run / name).write_text("\n".join([changed, *others]) + "\n")
        for words in READ_BY_SHOW[name]:
            code, said = turnmix(capsys, "show", *(word.format(run=run) for word in words))
            assert code in (0, 2), (place, wrong)
            assert "\x1b" not in said
            if code == 2:
                assert said.splitlines()[-1].startswith("turnmix: "), (place, wrong, said)


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "evaluations.jsonl", "versions.json", "clock.json", "recipe.yaml"]
)
def test_whatever_a_record_holds_going_on_with_the_run_ends_in_one_line_or_in_the_run(
    name, whole_run, tmp_path, capsys
):
    generator = random.Random(name)
    for number in range(3):
        run = tmp_path / f"run{number}"
        shutil.copytree(whole_run, run)
        (run / "summary.json").unlink()
        read, write = (yaml.safe_load, yaml.safe_dump) if name.endswith("yaml") else (json.loads, json.dumps)
        texts = (
            (run / name).read_text().splitlines() if name.endswith("l") and name != "recipe.yaml" else None
        )
        records = [read(text) for text in texts or [(run / name).read_text()]]
        at = generator.randrange(len(records))
        place = generator.choice(list(places(records[at])))
        records[at] = replaced(records[at], place, generator.choice(WRONG[:3] + WRONG[6:]))
        (run / name).write_text("\n".join(map(write, records)) + "\n")
        for words in (["train", "--resume", run], ["evaluate", run]):
            code, said = turnmix(capsys, *words)
            assert code in (0, 1, 2)
            assert "Traceback" not in said


@needs_sandbox
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_damaged_configuration_of_a_found_checkpoint_is_told_in_one_line(
    file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stdin", None)
    run = strangers_run(tmp_path)
    checkpoint = run / "checkpoints" / "iteration-001"
    shutil.copytree(_embedded_student(), checkpoint)
    held = json.loads((checkpoint / file).read_text())
    for wrong in ([], {**held, "eos_token_id": {}, "hidden_size": [], "rope_parameters": []}):
        (checkpoint / file).write_text(json.dumps(wrong))
        code, said = turnmix(capsys, "evaluate", run, "--output", tmp_path / f"output-{len(wrong)}")
        assert code in (0, 2), said
        assert "Traceback" not in said


def test_a_found_checkpoint_brings_no_code_and_asks_nothing(tmp_path, capsys, monkeypatch):
    run = strangers_run(tmp_path)
    checkpoint = run / "checkpoints" / "iteration-001"
    shutil.copytree(_embedded_student(), checkpoint)
    module = f"open({str(tmp_path / 'started')!r}, 'w')\nfrom transformers import PretrainedConfig as Mine\n"
    (checkpoint / "mine.py").write_text(module)
    configuration = json.loads((checkpoint / "config.json").read_text())
    own_code = {
        "AutoConfig": "mine.Mine",
        "AutoModelForCausalLM": "mine.Mine",
        "AutoTokenizer": ["mine.Mine", None],
    }
    for kind in ("mine", configuration["model_type"]):
        changed = {**configuration, "model_type": kind, "auto_map": own_code}
        (checkpoint / "config.json").write_text(json.dumps(changed))
        tokenizer = json.loads((checkpoint / "tokenizer_config.json").read_text())
        (checkpoint / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "auto_map": own_code}))
        monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
        _, said = turnmix(capsys, "evaluate", run, "--output", tmp_path / kind)
        assert not (tmp_path / "started").exists()
        assert "Traceback" not in said


def test_a_pickle_in_the_place_of_the_optimisers_state_is_not_run(whole_run, tmp_path, capsys):
    import pickle

    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    (run / "summary.json").unlink()
    (run / "metrics.jsonl").unlink()

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "started"),)

    (run / "checkpoints" / "iteration-001" / "learner.pt").write_bytes(pickle.dumps(Attack()))
    code, said = turnmix(capsys, "train", "--resume", run)
    assert (code, (tmp_path / "started").exists()) == (2, False)
    assert "cannot be loaded" in said
