"""What strangers wrote is shown by every command, and commands no terminal: on a pipe and on a terminal alike."""

import contextlib
import http.server
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
import unicodedata
from dataclasses import replace

import pytest
import yaml

from chat_models import make_model, make_tokenizer
from strict_environment import strict_environment
from turnmix.cli import main
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.doctor.checks import run_checks
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.store.run_directory import RunDirectory

MAIN = "import sys; from turnmix.cli import main; sys.exit(main())"
FORGED = "turnmix: all 200 of 200 RESOLVED"
ATTACKS = {
    "sequences": "\x1b[2J\x1b[31m\x1b]52;c;cm0gLXJm\x07\x1b]8;;http://evil.example\x1b\\x\x1b]8;;\x1b\\\x1bc\x1bP+q\x1b\\",
    "characters": "\x9b2J\x9d52;c;x\x9c\x85\x07\x08\x7f\x0b\x0c\x00\xad",
    "lines": f"\n{FORGED}\r{FORGED}\r\n{FORGED}\u2028{FORGED}\u2029{FORGED}",
    "directions": "\u202e\u202d\u2066\u2069\u200f\u061c",
    "unseen": "\u200b\u200d\ufeff\u2060\U000e0041\U000e0101\u3164",
}
SURROGATES = "\udce9\ud83d"
"""Apart: what holds them is refused where text is wanted."""
OWN_STYLES = re.compile(r"\x1b\[[0-9;]*m|\r(?=\n)")
"""What rich writes to a terminal, and the carriage return that the terminal itself adds."""


@pytest.fixture(params=["everything", "surrogates"])
def attack(request):
    return SURROGATES if request.param == "surrogates" else "".join(ATTACKS.values())


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def shown(*words, returns):
    """Both outputs of a command."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = main(words)
        except SystemExit as ended:
            code = ended.code
    text = output.getvalue()
    assert code in returns, text
    is_harmless(text)
    return text


def is_harmless(text):
    """No character but newlines that is not simply seen, and no line of somebody else's making."""
    assert {each for each in text if unicodedata.category(each)[0] in "CZ"} <= {" ", "\n"}, text
    assert not any(each in text for each in ("\U000e0101", "\u3164")), text
    assert not any(line.startswith(FORGED) for line in text.splitlines()), text
    assert "Traceback" not in text


def in_a_name(attack):
    """What of it a file's name and a word of a command line can hold."""
    return attack.translate({ord(each): None for each in "\0/\ud83d"})


def hostile_run(path, attack):
    call = ToolCall(id=f"i{attack}", name=f"n{attack}", arguments={f"k{attack}": f"v{attack}", "l": [attack]})
    action = Action(message=Message(role="assistant", content=f"c{attack}", tool_calls=(call,)))
    turn = Turn(
        actor="student",
        action=replace(action, parse_error=f"p{attack}"),
        observation=(Message(role="tool", content=f"o{attack}"),),
        label=Action(message=Message(role="assistant", content=f"l{attack}")),
    )
    trajectory = Trajectory(
        id="i001-00000",
        task_id=f"task{attack}",
        iteration=1,
        seed=0,
        tools=(),
        prompt=(Message(role="user", content=f"u{attack}"),),
        turns=(turn,),
        stop_reason=StopReason.infra_error,
        verdict=patch_verdict(resolved=False, submitted=True, passed=0, failed=1, patch=f"d{attack}"),
        error=f"e{attack}",
    )
    run = RunDirectory.create(path, recipe_yaml=recipe_yaml(load_recipe("minirepo_dagger")))
    run.trajectories.append(trajectory)
    run.trajectories.append(replace(trajectory, id=f"i001-{attack}"))
    run.close()


def test_a_run_of_a_strangers_is_shown_and_nothing_of_it_is_obeyed(tmp_path, attack):
    hostile_run(tmp_path / "run", attack)
    listed = shown("show", "run", returns=(0,))
    assert "task" in listed
    assert max(map(len, listed.splitlines())) <= 80
    one = shown("show", "run", "i001-00000", "--full", returns=(0,))
    for part in ("task", "c", "n", "k", "v", "o", "l", "d", "infra_error: e", "malformed: p"):
        assert f"{part}\\" in one or f"{part}\n" in one
    shown("show", "run", "--task", "task", returns=(0,))
    shown("show", "run", "nowhere", returns=(2,))


def test_records_of_a_run_that_are_none_are_told_of_in_a_line(tmp_path, attack):
    hostile_run(tmp_path / "run", attack)
    log = tmp_path / "run" / "trajectories.jsonl"
    whole = json.loads(log.read_text().splitlines()[0])
    for field in ("stop_reason", "prompt", "id", "turns", f"more{attack}"):
        value = [{"role": f"r{attack}", "content": "x"}] if field == "prompt" else f"x{attack}"
        log.write_text(json.dumps({**whole, field: value}) + "\n")
        shown("show", "run", returns=(0, 2))
    for name in ("summary.json", "versions.json", "clock.json"):
        (tmp_path / "run" / name).write_text(json.dumps({f"k{attack}": attack, "method": attack}))
        shown("show", "run", returns=(0, 2))


def test_a_strangers_recipe_is_refused_in_lines_of_ours(tmp_path, attack):
    recipe = tmp_path / "r.yaml"
    hostile = (
        {"method": f"m{attack}"},
        {"method": "sft", f"key{attack}": 1},
        {"method": "sft", "learner": {f"key{attack}": 1}},
        {"method": "sft", "learner": f"v{attack}"},
        {"method": "sft", "student": {"model": f"/no/model{attack}"}},
        {"method": "sft", "tasks": {"path": f"no{attack}".replace("\0", ""), "holdout": 1}},
        {"method": "sft", "trackers": [f"t{attack}"]},
        {"extends": f"e{attack}".replace("\0", "")},
        {f"{attack}": {f"{attack}": [attack]}},
    )
    for data in hostile:
        recipe.write_text(yaml.safe_dump(data, allow_unicode=False))
        shown("train", "r.yaml", "--run", "run", returns=(1, 2))
    recipe.write_bytes(f"method: {attack}\n{attack}: 1\n".encode("utf-8", "surrogatepass"))
    shown("train", "r.yaml", returns=(2,))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_recipe_is_printed_as_one_that_reads_back_equal(tmp_path, name):
    attack = ATTACKS[name]
    data = {"method": "sft", "student": {"model": f"m{attack}"}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(data, allow_unicode=False))
    for option in ("--dry-run", "--explain"):
        printed = shown("train", "r.yaml", option, returns=(0,))
        assert yaml.safe_load(printed)["student"]["model"] == f"m{attack}"


def row(attack, **values):
    good = {
        "instance_id": "good-1",
        "source": f"s{attack}",
        "repository": f"r{attack}",
        "image": "localhost/none:1",
        "problem_statement": f"Mend{attack}",
        "gold_patch": f"g{attack}",
        "fail_to_pass": [f"f{attack}"],
        "test_command": "t",
        "evaluation_script": "e",
    }
    return json.dumps({**good, **values}) + "\n"


def test_a_strangers_tasks_are_listed_printed_and_refused(tmp_path, attack):
    (tmp_path / "r.yaml").write_text(
        "method: sft\ntasks: {path: t.jsonl, holdout: 1}\nsandbox: {kind: container}\n"
    )
    tasks = tmp_path / "t.jsonl"
    tasks.write_text(row(attack) + row(attack, instance_id="good-2"))
    # Half of a character is no text.
    is_text = "\ud83d" not in attack
    listed = shown("tasks", "r.yaml", returns=(0 if is_text else 2,))
    assert ("good-1  Mend" in listed) == is_text
    tasks.write_text(
        row(attack, instance_id=f"bad{attack}")
        + row(attack, **{f"more{attack}": 1})
        + row(attack, evaluation_type=f"x{attack}")
        + f"no JSON {attack!r}\n"
    )
    assert "line 4" in shown("tasks", "r.yaml", returns=(2,))


def test_strangers_predictions_are_told_of(tmp_path, attack):
    (tmp_path / "t.jsonl").write_text(row(attack))
    for predictions in (
        [{"instance_id": f"x{attack}", "model_patch": "p"}],
        [{"instance_id": f"x{attack}", "model_patch": "p"}] * 2,
        [{"instance_id": f"x{attack}", "model_patch": 1}],
        [{f"x{attack}": 1}],
    ):
        (tmp_path / "p.jsonl").write_text("".join(json.dumps(each) + "\n" for each in predictions))
        shown("grade", "p.jsonl", "t.jsonl", returns=(1, 2))


def test_names_of_files_and_words_are_told_of(tmp_path, attack):
    name = f"no{in_a_name(attack)}"
    for words in (
        ("train", name),
        ("train", "minirepo", f"{name}=1"),
        ("train", "minirepo", f"seed={name}", "--dry-run"),
        ("train", f"--{name}"),
        ("show", name),
        ("show", ".", name),
        ("evaluate", name),
        ("grade", name, name),
        ("tasks", name),
        ("doctor", name),
        (name,),
    ):
        shown(*words, returns=(1, 2))
    for kind in ATTACKS.values():  # a name is 255 bytes long at most
        hostile_run(tmp_path / in_a_name(f"no{kind}"), "x")
        shown("show", in_a_name(f"no{kind}"), returns=(0,))


class Hostile(http.server.BaseHTTPRequestHandler):
    """An endpoint whose every word is the attack."""

    def answer(self):
        word = self.server.attack
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.dumps(
            {"data": [{"id": f"m{word}"}], "error": {"message": f"e{word}", "code": word}}
        ).encode()
        self.send_response(200 if self.command == "GET" else self.server.status, "x")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("status", [200, 400, 401, 404])
def test_what_an_endpoint_answers_is_told(tmp_path, attack, status):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.attack, server.status = attack, status
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    words = (
        "doctor",
        "minirepo_dagger",
        "teacher.kind=endpoint",
        f"teacher.endpoint={url}",
        "teacher.model=m",
    )
    try:
        assert "FAIL teacher" in shown(*words, returns=(1,))
    finally:
        server.shutdown()
        server.server_close()


def test_what_a_models_template_says_is_told(tmp_path, attack, monkeypatch):
    monkeypatch.setitem(run_checks.__kwdefaults__, "seconds", 300.0)
    spelled = json.dumps(f"says{attack}")
    tokenizer = make_tokenizer(f"{{{{ raise_exception({spelled}) }}}}")
    tokenizer.save_pretrained(tmp_path / "model")
    make_model(len(tokenizer)).config.save_pretrained(tmp_path / "model")
    told = shown("doctor", "minirepo_dagger", "student.model=./model", returns=(1,))
    assert "has a chat template that fails on a user's message: says" in told


def test_an_error_that_nobody_caught_is_shown_and_not_obeyed(tmp_path, attack):
    code = (
        "import sys, warnings, threading, logging\n"
        "from turnmix.cli import main\n"
        "sys.argv = ['turnmix', 'train']\n"
        "main()\n"
        f"attack = {attack!r}\n"
        "attack = 'x' + attack.replace(chr(10), '')\n"
        "warnings.warn(attack)\n"
        "logging.getLogger('x').error(attack)\n"
        "threading.Thread(target=lambda: {}[attack]).start()\n"
        "print(attack)\n"
        "raise ValueError(attack)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path)
    assert b"ValueError" in done.stderr
    is_harmless((done.stdout + done.stderr).decode().replace("Traceback", ""))


def on_a_terminal(folder, *words):
    """What a command writes to a terminal of 80 columns."""
    leader, follower = pty.openpty()
    environment = {**strict_environment(), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words],
        cwd=folder,
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        close_fds=True,
    )
    os.close(follower)
    content = b""
    while select.select([leader], [], [], 300)[0]:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end was closed
            break
        if not piece:
            break
        content += piece
    process.wait(timeout=300)
    os.close(leader)
    return content.decode()


def test_a_terminal_gets_our_colours_and_no_others(tmp_path, attack):
    hostile_run(tmp_path / "run", attack)
    for words in (
        ("show", "run"),
        ("show", "run", "i001-00000"),
        ("train", f"x{in_a_name(attack)}"),
    ):
        written = on_a_terminal(tmp_path, *words)
        # Red is nobody's but the attack's.
        assert "\x1b[31m" not in written
        is_harmless(OWN_STYLES.sub("", written))
        assert words[0] == "train" or "\x1b[1m" in written


def test_the_tab_key_offers_nothing_that_cannot_be_shown(tmp_path, attack):
    for kind in ATTACKS.values():
        (tmp_path / f"runs{in_a_name(kind)}").mkdir()
    (tmp_path / "runs-good").mkdir()
    hostile_run(tmp_path / "run", attack)
    pytest.importorskip("argcomplete")
    for line in ("turnmix show r", "turnmix show run i"):
        environment = {
            **strict_environment(),
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\x1f",
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "offered"),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "COMP_TYPE": "9",
        }
        subprocess.run([sys.executable, "-c", MAIN], cwd=tmp_path, env=environment, timeout=300)
        offered = (tmp_path / "offered").read_text()
        assert "run" in offered or "i001-00000" in offered
        for each in offered.split("\x1f"):
            is_harmless(each)
