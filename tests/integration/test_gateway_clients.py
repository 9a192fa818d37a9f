"""Real clients, unchanged, each in an environment of its own, ask the gateway: student and teacher take turns in an
episode with tools, and an iteration of training learns from all of them.

`sh scripts/make_clients.sh .venv-clients .venv-openhands` makes the environments.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest
from clients.start import PROGRAMS
from test_documentation import SMALL, TAKES_LONG, commands_of

import turnmix
from turnmix.policies.server.process import free_port
from warm_python import run_turnmix, start_turnmix

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
SHELLS = {"mini": "bash", "openhands_sdk.py": "terminal"}
"""What a client calls its shell; the others say `bash`."""


def environment(variable, directory):
    return Path(os.environ.get(variable, ROOT / directory)) / "bin" / "python"


CLIENTS_PYTHON = environment("TURNMIX_CLIENTS", ".venv-clients")
OPENHANDS_PYTHON = environment("TURNMIX_OPENHANDS", ".venv-openhands")
MADE_BY = "made by: sh scripts/make_clients.sh .venv-clients .venv-openhands"
EXTERNAL = ("rollouts.scaffold.kind=external", "evaluation.tasks=0")
HAS_CLIENTS = pytest.mark.skipif(
    not CLIENTS_PYTHON.exists(), reason=f"there is no {CLIENTS_PYTHON}; {MADE_BY}"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One iteration of training, in which each trajectory has another client."""
    environments = [
        str(python.parents[1]) for python in (CLIENTS_PYTHON, OPENHANDS_PYTHON) if python.exists()
    ]
    variables = {
        "CLIENTS_PYTHON": str(CLIENTS_PYTHON),
        "OPENHANDS_PYTHON": str(OPENHANDS_PYTHON),
        "MOST_TURNS": "10",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MSWEA_CONFIGURED": "true",
        "MSWEA_COST_TRACKING": "ignore_errors",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
    }
    path = tmp_path_factory.mktemp("clients") / "run"
    done = run_turnmix(
        *("train", "minirepo_dagger", "iterations=1", f"rollouts.tasks_per_iteration={len(PROGRAMS)}"),
        *("rollouts.concurrency=2", "evaluation.base=false", "evaluation.every=9", "evaluation.tasks=1"),
        *("mixture.start=0.6", "student.cohort_size=1", "student.max_new_tokens=24", "learner.epochs=1"),
        *("rollouts.scaffold.command=python3 $TURNMIX_FILES/start.py", f"rollouts.scaffold.files={CLIENTS}"),
        *(
            "rollouts.scaffold.seconds=1200",
            "scaffold.max_tokens=8000",
            "sandbox.memory_bytes=2000000000",
            "sandbox.processes=256",
        ),
        f"rollouts.scaffold.environment={json.dumps(variables)}",
        f"sandbox.python_environments={','.join(environments)}",
        *("--run", str(path)),
        cwd=path.parent,
    )
    assert done.returncode == 0, done.stderr
    return turnmix.read_run(path)


@HAS_CLIENTS
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.removesuffix(".py"))
def test_student_and_teacher_take_turns_behind_it(run, program):
    if program == "openhands_sdk.py" and not OPENHANDS_PYTHON.exists():
        pytest.skip(f"there is no {OPENHANDS_PYTHON}; {MADE_BY}")
    number = PROGRAMS.index(program)
    trajectory = next(each for each in run.trajectories() if each.id == f"i001-{number:05d}")
    log = (run.path / "scaffold-logs" / f"{trajectory.id}.log").read_text()
    assert {turn.actor for turn in trajectory.turns} == {"student", "teacher"}, log
    assert trajectory.stop_reason != "infra_error"
    assert all(turn.label is not None for turn in trajectory.turns), log
    shell = SHELLS.get(program, "bash")
    assert shell in {tool.name for tool in trajectory.tools}
    taught = [turn for turn in trajectory.turns if turn.actor == "teacher"]
    called = [call for turn in taught for call in turn.action.message.tool_calls if call.name == shell]
    assert called, log
    # What the teacher's calls came to stands in later states: the client carried them out.
    assert any("failed," in message.content for turn in trajectory.turns for message in turn.observation), log


@HAS_CLIENTS
def test_an_answer_that_mini_swe_agent_leaves_out_of_its_history_is_kept_and_taught(run):
    trajectory = next(each for each in run.trajectories() if each.id == f"i001-{PROGRAMS.index('mini'):05d}")
    dropped = [turn for turn, after in pairwise(trajectory.turns) if after.opening is not None]
    assert dropped
    assert all(turn.actor == "student" and not turn.is_rejected and turn.label for turn in dropped)


@HAS_CLIENTS
def test_what_all_of_them_did_was_learned(run):
    by_stage = {figures["stage"]: figures for figures in run.metrics}
    assert by_stage["rollout"]["infra_errors"] == 0
    learned = by_stage["train"]
    assert learned["kept"] == len(PROGRAMS)
    assert learned["labels"] == by_stage["rollout"]["turns"]
    assert learned["untaught"] == {}
    assert learned["loss"] > 0


PAGE = ROOT / "docs" / "your-scaffold.md"
IN_FULL = (".venv-agent", ".venv-mini", ".venv-openhands") if TAKES_LONG else (".venv-agent",)
"""Of the page's scaffolds those that are run; the recipes of the others are read."""


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory):
    """The files that the page tells of, as its reader has them."""
    folder = tmp_path_factory.mktemp("page")
    made = {".venv-agent": CLIENTS_PYTHON, ".venv-mini": CLIENTS_PYTHON, ".venv-openhands": OPENHANDS_PYTHON}
    for name, text in re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S):
        for directory, python in made.items():
            if python.exists():
                text = text.replace(directory, str(python.parents[1]))
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("command", commands_of(PAGE))
def test_the_page_on_scaffolds_does_what_it_says(page_folder, command):
    words = shlex.split(command)
    name = re.search(r"agent|mini|openhands", command)[0]
    is_made = (OPENHANDS_PYTHON if name == "openhands" else CLIENTS_PYTHON).exists()
    if not is_made:
        pytest.skip(f"its environment is not there; {MADE_BY}")
    is_run = f".venv-{name}" in IN_FULL
    if words[1] == "train" and "--explain" not in words:
        words += SMALL if is_run else ["--dry-run"]
    if words[1] == "evaluate":
        words.append("evaluation.tasks=1")
    done = run_turnmix(*words[1:], cwd=page_folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@HAS_CLIENTS
def test_a_scaffold_of_the_page_that_starts_itself_fills_an_iteration_which_is_learned(page_folder):
    port = free_port(None)
    driver = (page_folder / "drive.py").read_text()
    assert "127.0.0.1:8642" in driver
    (page_folder / "drive.py").write_text(driver.replace("127.0.0.1:8642", f"127.0.0.1:{port}"))
    words = (
        "gateway",
        "minirepo_dagger",
        *(word for word in SMALL if "evaluation" not in word),
        *EXTERNAL,
        "--run",
        "runs/served",
        "--port",
        str(port),
    )
    with open(page_folder / "gateway.txt", "w+") as said:
        gateway = start_turnmix(*words, cwd=page_folder, stdout=said, stderr=said)
        try:
            wait_until_listening(port, gateway)
            drive = [CLIENTS_PYTHON, "drive.py"]
            driven = subprocess.run(drive, cwd=page_folder, capture_output=True, text=True, timeout=1200)
            assert driven.returncode == 0, driven.stderr
            worked_on = re.findall(r"^i\S+(?= (?:un)?resolved)", driven.stdout, flags=re.M)
            assert worked_on == ["i001-00000", "i001-00001"]
            assert gateway.wait(300) == 0
        finally:
            gateway.kill()
    assert "--resume runs/served" in (page_folder / "gateway.txt").read_text()
    learned = run_turnmix("train", "--resume", "runs/served", cwd=page_folder)
    assert learned.returncode == 0, learned.stderr
    assert turnmix.read_run(page_folder / "runs" / "served").is_complete


def wait_until_listening(port, gateway):
    for _ in range(3000):
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert gateway.poll() is None
        time.sleep(0.1)
    raise AssertionError("the gateway does not listen")
