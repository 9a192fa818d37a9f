"""`turnmix gateway` as a program: a foreign world's scaffold drives a run's rollouts, and `turnmix train` learns."""

import json
import signal
import time

import httpx
import pytest

from turnmix.cli import main
from turnmix.policies.server.process import free_port
from warm_python import run_turnmix, start_turnmix

RECIPE = """
method: grpo
iterations: 1
tasks: {source: foreign, path: tasks.jsonl}
rollouts: {tasks_per_iteration: 2, samples_per_task: 2}
evaluation: {tasks: 0}
student: {max_new_tokens: 8}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tasks.jsonl").write_text(
        '{"id": "a", "prompt": "Say a."}\n{"id": "b", "prompt": "Say b."}\n'
    )
    (tmp_path / "own.yaml").write_text(RECIPE)
    return tmp_path


class Program:
    """A gateway in a process of its own."""

    def __init__(self, folder, *words, port):
        self.told = folder / f"told-{time.monotonic_ns()}"
        self.url = f"http://127.0.0.1:{port}"
        with open(self.told, "wb") as told:
            words = ("gateway", *words, "--run", "runs/x", "--port", str(port))
            self.process = start_turnmix(*words, cwd=folder, stdout=told, stderr=told)

    def ready(self):
        for _ in range(6000):
            try:
                return httpx.get(f"{self.url}/ready", timeout=60).json()
            except httpx.TransportError:
                assert self.process.poll() is None, self.text
                time.sleep(0.05)
        raise AssertionError(self.text)

    def ended(self, *, code):
        assert self.process.wait(300) == code, self.text
        return self.text

    @property
    def text(self):
        return self.told.read_text()


def post(url, body=None, key=None):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.post(url, json=body or {}, headers=headers, timeout=300)


def opened(program):
    response = post(f"{program.url}/sessions")
    assert response.status_code == 201, response.text
    return response.json()


def answer(program, session, text):
    body = {"model": "any", "messages": [{"role": "user", "content": text}]}
    response = post(f"{program.url}/v1/chat/completions", body, session["key"])
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def finished(program, session, **body):
    return post(f"{program.url}/sessions/{session['id']}/finish", body, session["key"])


def drive(program, session, reward):
    answer(program, session, session["task"]["prompt"])
    response = finished(program, session, reward=reward)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_killed_gateway_comes_back_and_its_run_is_learned_from(folder):
    port = free_port(None)
    first = Program(folder, "own.yaml", port=port)
    try:
        first.ready()
        done, begun = opened(first), opened(first)
        told = drive(first, done, 1.0)
        said = answer(first, begun, begun["task"]["prompt"])
        first.process.kill()
        first.process.wait(20)
        second = Program(folder, port=port)
        second.ready()
        assert {**finished(second, done).json(), "plans_left": 0} == {**told, "plans_left": 0}
        assert answer(second, begun, begun["task"]["prompt"]) == said
        for session, reward in ((begun, 0.0), (opened(second), 1.0), (opened(second), 0.0)):
            drive(second, session, reward)
        text = second.ended(code=0)
    finally:
        first.process.kill()
    assert "turnmix train --resume runs/x" in text
    everything = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    secrets = [done["key"], begun["key"], done["session_url"].rpartition("/")[2]]
    assert [each for each in secrets if any(each.encode() in content for content in everything)] == []
    lines = (folder / "runs/x/trajectories.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["verdict"]["reward"] for line in lines) == [0.0, 0.0, 1.0, 1.0]
    trained = run_turnmix("train", "--resume", "runs/x", cwd=folder)
    assert trained.returncode == 0, trained.stderr


def test_gateway_and_train_take_turns_until_the_last_iteration_and_each_names_the_next(
    folder, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    words = [
        "own.yaml",
        "iterations=2",
        "rollouts.scaffold.kind=external",
        "rollouts.scaffold.verdict=report",
    ]
    assert main(["train", *words, "--run", "runs/x"]) == 2
    told = capsys.readouterr().err
    assert f"`turnmix gateway {' '.join(words)} --run runs/x`" in told
    assert "`turnmix train --resume runs/x`" in told
    assert not (folder / "runs/x").exists()
    given = words
    for iteration in (1, 2):
        program = Program(folder, *given, port=free_port(None))
        try:
            program.ready()
            if iteration == 1:
                drive(program, opened(program), 1.0)
                program.process.send_signal(signal.SIGTERM)
                program.ended(code=1)
                assert main(["train", "--resume", "runs/x"]) == 2
                told = capsys.readouterr().err
                assert "iteration 1 lacks 3 trajectories" in told
                assert "serve them with `turnmix gateway --run runs/x`" in told
                program = Program(folder, port=free_port(None))
                program.ready()
            for number in range(3 if iteration == 1 else 4):
                drive(program, opened(program), float(number % 2))
            program.ended(code=0)
        finally:
            program.process.kill()
        assert main(["train", "--resume", "runs/x"]) == 0
        out = capsys.readouterr().out
        next_one = "Iteration 1 is learned: roll out iteration 2 with: turnmix gateway --run runs/x"
        assert (next_one in " ".join(out.split())) is (iteration == 1)
        assert (folder / f"runs/x/checkpoints/iteration-{iteration:03d}/model.safetensors").is_file()
        given = []
    assert json.loads((folder / "runs/x/summary.json").read_text())["is_complete"]


def test_a_terminated_gateway_tells_how_to_go_on_and_its_clients_that_it_ends(folder):
    program = Program(folder, "own.yaml", port=(port := free_port(None)))
    program.ready()
    session = opened(program)
    answer(program, session, "Say it.")
    program.process.send_signal(signal.SIGTERM)
    text = program.ended(code=1)
    assert f"go on with: turnmix gateway --run runs/x --port {port}" in text
    assert "Traceback" not in text


def test_a_run_that_train_would_go_on_with_by_its_own_scaffold_is_refused(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["gateway", "minirepo_dagger", "iterations=2", "--run", "runs/x"]) == 2
    assert "iterations: 2: train would roll out the further ones" in capsys.readouterr().err
    assert not (folder / "runs/x").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data.messages=rows.jsonl", "method=sft"], "data.messages"),
        (["teacher.kind=oracle", "method=dagger"], "teacher.kind"),
        (["tasks.path=none.jsonl"], "tasks.path: none.jsonl is not there"),
        (["--host", "0.0.0.0"], "TURNMIX_GATEWAY_KEY"),
        (["--port", "99999"], "--port 99999"),
        (["evaluation.tasks=1", "tasks.holdout=1"], "evaluation.tasks: 1"),
        (
            ["rollouts.scaffold.kind=external", "rollouts.scaffold.verdict=report", "evaluation.tasks=1"],
            "evaluation.tasks: 1: an evaluation cannot wait",
        ),
        (["rollouts.accidents.kind=breaking"], "rollouts.accidents.kind"),
    ],
)
def test_what_no_scaffold_can_drive_is_refused_in_a_line_and_leaves_nothing(
    folder, words, told, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    assert main(["gateway", "own.yaml", "--run", "runs/x", *words]) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "runs/x").exists()
