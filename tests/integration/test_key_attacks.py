"""Attacks on keys: by who takes a port, by programs that are started, by endpoints that say back what they were sent,
and by slips of whoever writes a recipe. Each asserts that no key left the process but to whom it was meant for."""

import asyncio
import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from container_runtime import TINY, make_container, needs_containers
from failing_endpoint import FailingEndpoint, Reply, completion, refusal
from scaffold_in_sandbox import needs_sandbox
from served_students import BASE, student_server

from strict_environment import strict_environment
from turnmix.cli import main
from turnmix.core.errors import TurnMixError
from turnmix.core.message import Message
from turnmix.core.trajectory import State
from turnmix.policies.policy import Episode
from turnmix.policies.server.port_owner import listeners
from turnmix.policies.server.process import free_port
from turnmix.policies.server.vllm import VllmEngine
from turnmix.sandboxes.bubblewrap import BubblewrapSandbox
from turnmix.sandboxes.local import UnsandboxedSandbox
from turnmix.store.versions import git_revision
from warm_python import run_turnmix

# Of another alphabet than what the other tests write, and with what escapes differ for.
KEY = "sk-attack-/Zq+7Xw9vB3-k0Yt5"
STAND_IN = Path(__file__).with_name("stand_in_server.py")
PROGRAM = f"#!{sys.executable}\n"
STATE = State(messages=(Message(role="user", content="fix it"),), tools=())


def in_base64(key=KEY):
    """What base64 of any text around the key holds, wherever it begins."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(b"." * before + key.encode()).decode()
        core = encoded[(before * 8 + 5) // 6 : (before + len(key)) * 8 // 6]
        found |= {core, core.replace("+", "-").replace("/", "_")}
    return found


def leaks(text):
    """The forms of the key in a text."""
    forms = {KEY, quote(KEY, safe=""), KEY.replace("/", "\\/"), KEY.encode().hex(), *in_base64()}
    forms |= {"".join(f"\\u{ord(c):04x}" for c in KEY), "".join(f"%{ord(c):02X}" for c in KEY)}
    return {form for form in forms if form in text}


def stored(folder):
    return "".join(
        path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*") if path.is_file()
    )


@pytest.fixture
def program(tmp_path):
    """The stand-in as a program of its own."""
    path = tmp_path / "vllm"
    path.write_text(PROGRAM + STAND_IN.read_text())
    path.chmod(0o755)
    return path


@pytest.fixture
def keys(monkeypatch):
    """Keys of the user's services, in the environment."""
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "VLLM_API_KEY", "DATABASE_URL", "MY_OWN_SETTING"):
        monkeypatch.setenv(name, f"postgres://me:{KEY}@host" if name == "DATABASE_URL" else KEY)


class Thief:
    """Takes a port as soon as nobody has it, and keeps what it is sent."""

    def __init__(self, port):
        self.port = port
        self.taken = []
        self.listens = threading.Event()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._steal, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()

    def _steal(self):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            while not self._ends.is_set():
                try:
                    listener.bind(("127.0.0.1", self.port))
                    break
                except OSError:
                    time.sleep(0.01)
            listener.listen()
            listener.settimeout(0.1)
            self.listens.set()
            while not self._ends.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(2)
                    try:
                        self.taken.append(connection.recv(65536))
                        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    except OSError:
                        pass


def served(program, tmp_path, **settings):
    folder = tmp_path / "noted"
    folder.mkdir(exist_ok=True)
    return student_server(
        VllmEngine(dtype="float32", lora_rank=None),
        program=str(program),
        environment={"STAND_IN": str(folder)},
        start_timeout_seconds=300.0,
        **settings,
    ), folder


def requests_in(folder):
    path = folder / "requests.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# Who listens


def test_whoever_takes_the_port_of_a_started_server_is_sent_nothing_and_named(program, tmp_path, keys):
    port = free_port(None)
    server, folder = served(program, tmp_path, port=port)
    (folder / "host").write_text("nowhere")
    thief = Thief(port)
    start = server._start

    def start_behind_the_thief():
        thief.__enter__()
        assert thief.listens.wait(120)
        start()

    server._start = start_behind_the_thief
    try:
        with pytest.raises(TurnMixError) as raised:
            server.open(BASE, log=tmp_path / "server.log")
    finally:
        thief.__exit__()
        server.close()
    assert [part for part in thief.taken if part] == []
    assert re.search(rf"port {port} is held by process {os.getpid()} \('.*'\)", str(raised.value))
    assert "\n" not in str(raised.value)


def test_whoever_takes_the_port_of_a_server_that_died_is_sent_nothing(program, tmp_path, keys):
    server, folder = served(program, tmp_path, max_attempts=2)
    try:
        server.open(BASE, log=tmp_path / "server.log")
        port = server._started.port
        policy = server.policy(greedy=True)

        async def act():
            try:
                await policy.begin(Episode(trajectory_id="a", task=None, seed=0)).act(STATE)
            finally:
                await policy.close()

        asyncio.run(act())
        num_before = len(requests_in(folder))
        (folder / "host").write_text("nowhere")
        pid = json.loads((folder / "environment.json").read_text()) and _listening_process(server)
        with Thief(port) as thief:
            os.kill(pid, signal.SIGKILL)
            assert thief.listens.wait(120)
            with pytest.raises(TurnMixError, match=f"{port}"):
                asyncio.run(act())
        assert [part for part in thief.taken if part] == []
        assert len(requests_in(folder)) == num_before
    finally:
        server.close()


def _listening_process(server):
    """The program itself, below its watchdog."""
    watchdog = server._started.pid
    return int(Path(f"/proc/{watchdog}/task/{watchdog}/children").read_text().split()[0])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_started_server_that_is_open_to_other_machines_is_refused(program, tmp_path, keys, host):
    server, folder = served(program, tmp_path)
    if ":" in host:
        text = program.read_text().replace("ThreadingHTTPServer((", "Six((")
        six = "class Six(ThreadingHTTPServer):\n    address_family = __import__('socket').AF_INET6\n\n\nif __name__"
        program.write_text(text.replace("if __name__", six, 1))
    (folder / "host").write_text(host)
    try:
        with pytest.raises(TurnMixError, match=f"listens on {host}, open to other machines"):
            server.open(BASE, log=tmp_path / "server.log")
    finally:
        server.close()
    assert requests_in(folder) == []


# What a started server gets


def test_a_started_server_gets_a_random_key_and_none_of_the_users(program, tmp_path, keys):
    seen = []
    for number in range(2):
        server, folder = served(program, tmp_path)
        try:
            server.open(BASE, log=tmp_path / f"server{number}.log")
            arguments = Path(f"/proc/{_listening_process(server)}/cmdline").read_bytes()
            owners = {each.address for each in listeners(server._started.port)}
        finally:
            server.close()
        environment = json.loads((folder / "environment.json").read_text())
        own = environment["VLLM_API_KEY"]
        assert len(own) >= 32
        assert {authorization for _, authorization in requests_in(folder)} == {f"Bearer {own}"}
        assert (own.encode() in arguments, own in (tmp_path / f"server{number}.log").read_text()) == (
            False,
            False,
        )
        assert leaks(json.dumps(environment)) == set()
        assert owners == {"127.0.0.1"}
        assert environment["PATH"]
        (folder / "requests.jsonl").unlink()
        seen.append(own)
    assert seen[0] != seen[1]


def test_a_started_server_gets_a_key_of_the_users_by_its_name_alone_and_its_log_does_not(
    program, tmp_path, keys
):
    program.write_text(program.read_text().replace('"my key:"', '"my key:", os.environ["HF_TOKEN"]'))
    server, folder = served(program, tmp_path, inherited_environment=["HF_TOKEN"])
    try:
        server.open(BASE, log=tmp_path / "server.log")
    finally:
        server.close()
    environment = json.loads((folder / "environment.json").read_text())
    assert [name for name, value in environment.items() if KEY in value] == ["HF_TOKEN"]
    assert leaks((tmp_path / "server.log").read_text()) == set()


@pytest.mark.parametrize("named", [None, "MY_SERVERS_KEY"])
def test_a_server_that_is_given_is_sent_a_key_only_where_one_is_named(
    program, tmp_path, keys, named, monkeypatch
):
    monkeypatch.setenv("MY_SERVERS_KEY", "its-own-key-123")
    port, folder = free_port(None), tmp_path / "noted"
    folder.mkdir()
    words = [str(program), "serve", "x", "--host", "127.0.0.1", "--port", str(port)]
    running = subprocess.Popen(words, env={**os.environ, "STAND_IN": str(folder)}, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not listeners(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server = student_server(
            VllmEngine(dtype="float32", lora_rank=None, served_name="student"),
            endpoint=f"http://127.0.0.1:{port}/v1",
            api_key_environment=named,
        )
        server.open(BASE, log=tmp_path / "server.log")
    finally:
        running.kill()
        running.wait()
    sent = {authorization for _, authorization in requests_in(folder)}
    assert sent == {None if named is None else "Bearer its-own-key-123"}


# What agents and other programs get


def shown_by(sandbox):
    """What an agent's command finds in its environment, and in those of all processes above it."""
    command = (
        f"env; cat /proc/1/environ; p=$$; while [ ${{p:-0}} -gt 1 ] && [ $p != {os.getpid()} ]; do "
        "cat /proc/$p/environ; p=$(cut -d' ' -f4 /proc/$p/stat); done"
    )

    async def run():
        await sandbox.start()
        try:
            result = await sandbox.run(command, working_directory="/testbed", timeout=120)
            return (
                result.output.decode("utf-8", "replace")
                if isinstance(result.output, bytes)
                else result.output
            )
        finally:
            await sandbox.stop()

    return asyncio.run(run())


@needs_sandbox
def test_a_sandboxes_commands_find_no_key(keys):
    assert leaks(shown_by(BubblewrapSandbox())) == set()


@needs_containers
def test_a_containers_commands_find_no_proxy_of_the_users(tmp_path, monkeypatch):
    proxies = {"default": {"httpProxy": f"http://me:{KEY}@proxy:3128"}}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert leaks(shown_by(make_container(image=TINY))) == set()


def test_commands_without_a_sandbox_find_no_key_in_what_started_them(keys):
    assert leaks(shown_by(UnsandboxedSandbox())) == set()


def test_programs_that_are_asked_something_get_no_key(tmp_path, keys, monkeypatch):
    for name in ("git", "nvidia-smi", "bwrap"):
        noting = tmp_path / "bin" / name
        noting.parent.mkdir(exist_ok=True)
        noting.write_text(f"#!/bin/sh\nenv >> {tmp_path}/noted\nexit 1\n")
        noting.chmod(noting.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    git_revision(Path(__file__).parent)
    for code in (
        "from turnmix.sandboxes.selection import *; BubblewrapSettings().check()",
        "from turnmix.doctor.machine import *; import turnmix.doctor.machine as m; "
        "[each() for name, each in vars(m).items() if name in ('_cards', 'cards')]; m.subprocess",
        "from pathlib import Path; from turnmix.task_making.version_control import git; git(Path('.'), 'status')",
    ):
        subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300)
    noted = (tmp_path / "noted").read_text()
    assert "PATH=" in noted
    assert leaks(noted) == set()


# What an endpoint says back

RECIPE = """\
method: dagger
iterations: 1
tasks: {train: 4, holdout: 4}
student: {model: nano-student, cohort_size: 2, max_new_tokens: 32}
scaffold: {max_turns: 4, max_tokens: 8192}
rollouts: {tasks_per_iteration: 2}
evaluation: {tasks: 1, base: false}
"""
ECHOES = {
    "plain": KEY,
    "escaped": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "percent": "".join(f"%{ord(c):02X}" for c in KEY),
    "entities": "".join(f"&#{ord(c)};" for c in KEY),
    "hexadecimal": KEY.encode().hex(),
    **{
        f"base64 {before}": base64.b64encode(b"<" * before + KEY.encode() + b">").decode()
        for before in range(3)
    },
    "urlsafe": base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
}


def echoing(number, request):
    """Says the key in all forms, in all places; and acts sensibly besides."""
    said = " ".join(ECHOES.values())
    if request.path.endswith("/models"):
        return Reply(body=json.dumps({"data": [{"id": "m", "owned_by": KEY}, {"id": KEY}]}).encode())
    if number == 8:
        return Reply(status=302, headers={"Location": f"https://elsewhere.example.com/{KEY}?key={KEY}"})
    if number in (9, 10):
        return refusal(500, said, x_request_id=KEY)
    if [tool["function"]["name"] for tool in request.body.get("tools", ())] == ["report_ready"]:
        return completion(said, [("report_ready", json.dumps({"message": said}))])
    turn = sum(message["role"] == "assistant" for message in request.body["messages"])
    steps = [
        ("execute_bash", {"command": f"echo '{said}'; ls"}),
        ("execute_bash", {"command": f"echo '# {said}' >> seen.py"}),
        ("finish", {"message": said}),
    ]
    name, arguments = steps[min(turn, 2)]
    reply = completion(said, [(name, json.dumps(arguments))])
    data = json.loads(reply.body)
    data["choices"][0]["message"]["reasoning_content"] = said
    data["choices"][0]["message"]["tool_calls"][0]["extra_content"] = {"signature": KEY}
    # As a server writes that escapes every character.
    escaped = json.dumps(data).replace(json.dumps(KEY)[1:-1], "".join(f"\\u{ord(c):04x}" for c in KEY))
    return Reply(body=escaped.encode(), headers={"X-Echo": KEY})


def turnmix(folder, *words, **variables):
    done = run_turnmix(*words, cwd=folder, env={**strict_environment(), **variables})
    return done.returncode, done.stdout + done.stderr


def against(script, work):
    """What `work(url)` returns in a thread of its own while the script is served; and the requests."""

    async def run():
        async with FailingEndpoint(script) as server:
            return await asyncio.to_thread(work, server.url), server.requests

    return asyncio.run(run())


@needs_sandbox
def test_a_key_that_an_endpoint_says_back_reaches_neither_disk_nor_screen(tmp_path):
    (tmp_path / "small.yaml").write_text(RECIPE)
    settings = ("teacher.model=m", "teacher.api_key_environment=TEACHER_KEY", "teacher.backoff_seconds=0")

    def work(url):
        said = []
        for words in (
            ("doctor", "small.yaml", f"teacher.endpoint={url}", *settings),
            ("train", "small.yaml", f"teacher.endpoint={url}", *settings, "--run", "run"),
            ("show", "run"),
            ("show", "run", "i001-00000", "--full"),
        ):
            code, told = turnmix(tmp_path, *words, TEACHER_KEY=KEY)
            assert "Traceback" not in told, told
            said.append((code, told))
        return said

    said, requests = against(echoing, work)
    told = "\n".join(text for _, text in said)
    assert [code for code, _ in said] == [0, 0, 0, 0], told
    assert any(request.headers.get("authorization") == f"Bearer {KEY}".lower() for request in requests)
    assert "***" in told
    assert leaks(told) == set()
    assert leaks(stored(tmp_path / "run")) == set()
    # What was said besides is kept as it was.
    assert "seen.py" in (tmp_path / "run" / "trajectories.jsonl").read_text()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=401, body=json.dumps({"error": {"message": ECHOES["base64 1"] + KEY}}).encode()),
        Reply(status=404, body=KEY.encode() * 3),
        Reply(status=308, headers={"Location": f"https://elsewhere.example.com/{quote(KEY, safe='')}"}),
        Reply(body=json.dumps({"choices": [], KEY: KEY}).encode()),
        completion(KEY),
    ],
    ids=["refused", "not found", "redirected", "malformed", "no call"],
)
def test_an_error_shows_no_key_that_an_endpoint_said_back(tmp_path, reply):
    (tmp_path / "small.yaml").write_text(RECIPE)
    words = ("teacher.model=m", "teacher.max_attempts=1", "teacher.api_key_environment=TEACHER_KEY")

    def work(url):
        return turnmix(tmp_path, "doctor", "small.yaml", f"teacher.endpoint={url}", *words, TEACHER_KEY=KEY)

    (code, said), requests = against(lambda *_: reply, work)
    assert code == 1, said
    assert requests
    assert leaks(said) == set()


def test_a_key_is_not_sent_on_where_an_endpoint_redirects(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / "small.yaml").write_text(RECIPE)
    with Thief(free_port(None)) as thief:
        assert thief.listens.wait(120)
        reply = Reply(status=307, headers={"Location": f"http://127.0.0.1:{thief.port}/v1/chat/completions"})

        def work(url):
            return turnmix(tmp_path, "doctor", "small.yaml", f"teacher.endpoint={url}", "teacher.model=m")

        (code, said), requests = against(lambda *_: reply, work)
    assert code == 1, said
    assert requests
    assert thief.taken == []


# Where keys stand in URLs, and where they are typed by mistake


URLS = [
    "https://me:{key}@host.invalid/v1",
    "https://{key}@host.invalid/v1",
    "https://{key}:@host.invalid/v1",
    "https://{key}:x-oauth-basic@host.invalid/v1",
    "https://host.invalid/v1?api-key={key}",
    "https://host.invalid/v1?key={key}&api-version=2024-10-21",
    "https://host.invalid/v1?{key}",
    "https://host.invalid/v1?{key}=1",
    "https://host.invalid/v1?api-version={key}",
    "https://host.invalid/v1#{key}",
    "https://host.invalid/v1#access_token={key}",
    "https://host.invalid/{key}/v1",
    "ftp://me:{key}@host.invalid/v1",
    "host.invalid/v1?key={key}",
    "https://me:{key}@host.invalid:99999/v1",
    "https://me:{key}@host.invalid/v1/chat/completions",
    "https://host.invalid/v1/chat/completions?key={key}",
    "{key}",
]
WAYS = {
    "as it is": lambda key: key,
    "encoded": lambda key: quote(key, safe=""),
    "all encoded": lambda key: "".join(f"%{ord(c):02x}" for c in key),
}
URL_KEY = "sk-attack-Zq7Xw9vB3k0Yt5"


def shows(capsys, *words):
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out + err


def decoded(text):
    """Percent-encoding, whatever it hides, taken back."""
    return re.sub(r"%([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("url", URLS)
def test_a_key_in_a_url_is_shown_and_stored_nowhere(tmp_path, monkeypatch, capsys, url, way):
    monkeypatch.chdir(tmp_path)
    address = url.format(key=WAYS[way](URL_KEY))
    Path("empty.yaml").write_text(RECIPE)
    Path("small.yaml").write_text(f"{RECIPE}teacher: {{endpoint: '{address}', model: m}}\n")
    for words in (
        ("train", "small.yaml", "--explain"),
        ("train", "empty.yaml", "--dry-run", f"teacher.endpoint={address}", "teacher.model=m"),
    ):
        code, said = shows(capsys, *words)
        assert code in (0, 2), said
        assert said
        assert URL_KEY not in decoded(said)


TYPED = [
    ("teacher.model", "{key}"),
    ("student.model", "{key}"),
    ("teacher.api_key_environment", "{key}"),
    ("student.server.api_key_environment", "{key}"),
    ("student.server.inherited_environment", "[{key}]"),
    ("teacher.extra_body", "{{api_key: {key}}}"),
    ("teacher.extra_body", "{{headers: {{Authorization: Bearer {key}}}}}"),
    ("teacher.extra_body", "{{user: [{{deep: 'x {key}'}}]}}"),
    ("teacher.extra_body", "{{{key}: 1}}"),
    ("teacher.headers", "{{Authorization: Bearer {key}}}"),
    ("teacher.{key}", "1"),
    ("student.server.environment", "{{HF_TOKEN: {key}}}"),
    ("student.server.environment", "{{OTHER: {key}}}"),
    ("student.server.arguments", "[--api-key, {key}]"),
    ("student.server.arguments", "[--api-key={key}]"),
    ("student.server.arguments", "[--hf-token={key}]"),
    ("student.server.program", "{key}"),
    ("trackers", "[wandb, {key}]"),
    ("trackers", "wandb:{key}"),
    ("tasks.path", "https://me:{key}@host/tasks.jsonl"),
    ("seed", "{key}"),
    ("method", "{key}"),
    ("scaffold.max_turns", "[{key}]"),
]


@pytest.mark.parametrize("is_file", [True, False], ids=["in a file", "on the command line"])
@pytest.mark.parametrize(("field", "value"), TYPED)
def test_a_key_typed_in_the_wrong_place_is_refused_and_shown_nowhere(
    tmp_path, monkeypatch, capsys, field, value, is_file
):
    key = KEY.replace("/", "") if is_file else "hf_AbCdEfGhIjKlMnOpQrStUvWx"
    monkeypatch.chdir(tmp_path)
    name, text = field.format(key=key), value.format(key=key)
    given = {"teacher": {"endpoint": "'http://127.0.0.1:1/v1'", "model": "m"}}
    lines = [f"method: {'dagger' if name != 'method' else text}"]
    section, _, below = name.partition(".")
    if is_file:
        nested = given.get(section, {}) if section == "teacher" else {}
        if below.startswith("server."):
            lines.append(f"student: {{server: {{{below.removeprefix('server.')}: {text}}}}}")
        elif below:
            inner = {**nested, below: text}
            lines.append(f"{section}: {{{', '.join(f'{k}: {v}' for k, v in inner.items())}}}")
        elif name != "method":
            lines.append(f"{name}: {text}")
        Path("typed.yaml").write_text("\n".join(lines) + "\n")
        words = ["typed.yaml"]
    else:
        Path("empty.yaml").write_text("method: dagger\n")
        words = ["empty.yaml", f"{name}={text}"]
        if section == "teacher" and below != "model":
            words += ["teacher.model=m", "teacher.endpoint=http://127.0.0.1:1/v1"]
    code, said = shows(capsys, "doctor", *words)
    assert code == 2, said
    assert key not in said, said
    assert section in said


def test_the_value_of_a_key_variable_typed_as_a_setting_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEACHER_KEY", "without-any-usual-beginning-7")
    Path("typed.yaml").write_text(
        "method: dagger\nteacher: {endpoint: 'http://127.0.0.1:1/v1', model: without-any-usual-beginning-7, "
        "api_key_environment: TEACHER_KEY}\n"
    )
    code, said = shows(capsys, "train", "typed.yaml", "--dry-run")
    assert code == 2
    assert "teacher.model" in said
    assert "usual-beginning" not in said


@pytest.mark.parametrize("words", [["show"], ["evaluate"], ["train"], ["grade"], ["tasks"], ["doctor"], []])
def test_no_command_repeats_a_key_that_it_is_given_as_a_word(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([*words, "sk-attack-Zq7Xw9vB3k0Yt5", "sk-attack-Zq7Xw9vB3k0Yt5"])
    except SystemExit as ended:
        code = ended.code
    out, err = capsys.readouterr()
    assert code == 2
    assert URL_KEY not in out + err


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
def test_a_proxys_password_is_shown_nowhere(tmp_path, variable):
    (tmp_path / "small.yaml").write_text(RECIPE)
    words = ("teacher.model=m", "teacher.endpoint=http://host.invalid/v1")
    code, said = turnmix(
        tmp_path, "doctor", "small.yaml", *words, **{variable: f"http://me:{URL_KEY}@127.0.0.1:1"}
    )
    assert code == 1
    assert "proxy" in said
    assert URL_KEY not in decoded(said)


def test_an_error_that_nobody_expects_shows_no_key(tmp_path):
    code = (
        "import sys, turnmix.cli.command_line as c\n"
        f"def fail(options): raise RuntimeError('it said {KEY} and {ECHOES['base64 2']}')\n"
        "c._run = fail\nsys.exit(c.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "tasks", "x"],
        cwd=tmp_path,
        env={**strict_environment(), "OPENAI_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "RuntimeError: it said ***" in done.stderr
    # The line of the program itself is not printed for code that was given as a word.
    assert leaks(done.stdout + done.stderr) == set()
