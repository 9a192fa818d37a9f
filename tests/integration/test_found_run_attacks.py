"""Recipes of runs that somebody else made, against whoever evaluates, resumes or looks at them."""

import http.server
import shutil
import stat
import threading

import pytest
import yaml
from scaffold_in_sandbox import needs_sandbox
from strangers import SMALL, embedded_student, laid_over, strangers_run, turnmix

from turnmix.recipe.found_recipe import HARMLESS, POWERFUL
from turnmix.recipe.recipe import Recipe, load_recipe, recipe_yaml
from turnmix.recipe.setting_search import setting_names, settings_in
from turnmix.store.made_here import SEAL, is_made_here
from turnmix.store.run_directory import RunDirectory


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
    server = {"engine": "vllm", "program": str(spy), "start_timeout_seconds": 300}
    run = strangers_run(tmp_path, student={"server": server})
    shutil.copytree(embedded_student(), run / "checkpoints" / "iteration-001")
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
        "start_timeout_seconds": 300,
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
    from turnmix.recipe.setting_search import _walk

    annotations = [annotation for each, annotation in _walk(Recipe, "") if each == name]
    plain = {int, float, bool, type(None)}
    return all(list(settings_in(each)) or _types(each) <= plain for each in annotations)


def _types(annotation):
    from typing import get_args

    if not (arguments := get_args(annotation)):
        return {annotation}
    found = {each for argument in arguments for each in _types(argument)}
    return {each for each in found if isinstance(each, type)}


def test_predictions_that_came_with_a_recipe_are_graded_unsandboxed_only_where_that_is_said(tmp_path, capsys):
    run = strangers_run(tmp_path, sandbox={"kind": "none"})
    recipe = {key: value for key, value in SMALL.items() if key != "tasks"}
    recipe = laid_over(recipe, {"sandbox": {"kind": "none"}, "tasks": {"path": "tasks.jsonl"}})
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (run / "predictions.jsonl").write_text('{"instance_id": "a__b-1", "model_patch": ""}\n')
    code, said = turnmix(capsys, "grade", run / "predictions.jsonl", run / "recipe.yaml")
    assert code == 2
    assert said.splitlines()[1:] == [
        "  tasks.path: names a file of this machine that is read, or written by `tasks prepare`; say it again, or "
        "otherwise: tasks.path=tasks.jsonl",
        "  sandbox.kind: runs an agent's commands with your rights; say it again, or otherwise: sandbox.kind=none",
    ]
