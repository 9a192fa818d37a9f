"""A server that TurnMix starts: awaited, its log kept, ended with all that it started, however TurnMix ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from process_table import is_running
from turnmix.core.errors import InfrastructureError, MissingDependencyError, UserError
from turnmix.policies.server.process import ServerProcess, free_port, log_tail
from turnmix.policies.server.program import find_program
from turnmix.policies.server.settings import ServerSettings

SECONDS = 120
"""For what other processes do, also where the machine is busy."""
# A server with a child of its own in another session, which ignores being asked to end.
STUBBORN = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(600)
"""
OWNER = """
import sys, time
from pathlib import Path
from turnmix.policies.server.process import ServerProcess
process = ServerProcess(sys.argv[1:], environment={}, log=Path("server.log"))
time.sleep(600)
"""


# Makes a process group of its own, as vLLM does.
GROUPED = """
import sys
from datetime import timedelta
from torch import distributed
from turnmix.policies.server.process import free_port
address = f"tcp://127.0.0.1:{free_port(None)}"
distributed.init_process_group("gloo", init_method=address, rank=0, world_size=1, timeout=timedelta(seconds=300))
print("has its group")
"""
LAUNCHED = """
import os, sys, time
from pathlib import Path
from turnmix.policies.server.process import ServerProcess
if os.environ["RANK"] == "0":
    log = Path(sys.argv[1])
    process = ServerProcess([sys.executable, "-c", sys.argv[2]], environment={}, log=log)
    deadline = time.monotonic() + 500
    while process.is_alive and time.monotonic() < deadline:
        time.sleep(0.1)
    process.stop()
"""


def written_pids(path, number=2):
    deadline = time.monotonic() + SECONDS
    while not path.exists() or len(path.read_text().split()) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(pid) for pid in path.read_text().split()]


def wait_until_gone(pids):
    deadline = time.monotonic() + SECONDS
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "left running"
        time.sleep(0.05)


def test_stopping_a_server_ends_what_it_started_in_other_sessions(tmp_path):
    pids = tmp_path / "pids"
    process = ServerProcess(
        [sys.executable, "-c", STUBBORN, str(pids)], environment={}, log=tmp_path / "server.log"
    )
    started = written_pids(pids)
    process.stop()
    assert not any(map(is_running, started))
    process.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_leaves_no_server_behind(tmp_path, number):
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", OWNER, sys.executable, "-c", STUBBORN, str(pids)]
    owner = subprocess.Popen(command, cwd=tmp_path)
    started = written_pids(pids)
    os.kill(owner.pid, number)
    owner.wait()
    wait_until_gone(started)


def test_a_server_that_ends_at_once_is_an_error_with_the_end_of_its_log(tmp_path):
    command = [sys.executable, "-c", "import sys; print('no such model: x'); sys.exit(3)"]
    process = ServerProcess(command, environment={}, log=tmp_path / "server.log")
    with pytest.raises(InfrastructureError, match=r"(?s)exit status 3.*no such model: x"):
        process.wait_until(lambda: False, timeout=SECONDS)


def test_a_server_that_never_answers_is_an_error_that_names_the_setting(tmp_path):
    process = ServerProcess(["sleep", "60"], environment={}, log=tmp_path / "server.log")
    with pytest.raises(InfrastructureError, match="start_timeout_seconds"):
        process.wait_until(lambda: False, timeout=0.3)
    process.stop()


def test_a_program_that_does_not_exist_is_named_in_the_log(tmp_path):
    process = ServerProcess(["/no/such/program"], environment={}, log=tmp_path / "server.log")
    with pytest.raises(InfrastructureError, match="/no/such/program"):
        process.wait_until(lambda: False, timeout=SECONDS)


def test_the_environment_reaches_the_server(tmp_path):
    log = tmp_path / "server.log"
    command = [sys.executable, "-c", "import os; print(os.environ['SWITCH'])"]
    process = ServerProcess(command, environment={"SWITCH": "on"}, log=log)
    with pytest.raises(InfrastructureError):
        process.wait_until(lambda: False, timeout=SECONDS)
    assert log_tail(log) == ["  on"]


def test_how_the_learner_lays_out_its_memory_is_not_handed_to_a_server(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    command = [sys.executable, "-c", "import os; print(os.environ.get('PYTORCH_CUDA_ALLOC_CONF'))"]

    def printed(name, **options):
        process = ServerProcess(command, environment={}, log=tmp_path / name, **options)
        with pytest.raises(InfrastructureError):
            process.wait_until(lambda: False, timeout=SECONDS)
        return log_tail(tmp_path / name)

    assert printed("plain.log") == ["  None"]
    assert printed("named.log", inherited=["PYTORCH_CUDA_ALLOC_CONF"]) == ["  expandable_segments:True"]


def test_a_server_started_under_torchrun_makes_a_process_group_of_its_own(tmp_path):
    (tmp_path / "launched.py").write_text(LAUNCHED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    log = tmp_path / "server.log"
    command = [*launcher, str(tmp_path / "launched.py"), str(log), GROUPED]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, capture_output=True, timeout=600, check=True)
    assert "has its group" in log.read_text()


def test_what_a_server_prints_cannot_reach_the_terminal_as_commands(tmp_path):
    log = tmp_path / "server.log"
    log.write_bytes(b"\x1b[2Jhello\xff\n")
    assert log_tail(log) == ["  \\x1b[2Jhello�"]


def test_a_port_that_is_taken_is_refused_by_name():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=rf"student\.server\.port: {port}"):
            free_port(port)


def test_a_free_port_is_none_that_the_machine_gives_to_connections_until_the_server_listens():
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if lowest < 13_000:
        pytest.skip("this machine gives all ports to connections")
    ports = {free_port(None) for _ in range(20)}
    assert max(ports) < lowest
    assert len(ports) > 10


def test_an_engine_that_is_not_installed_is_named_with_the_ways_out(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingDependencyError, match=r"vllm.*student\.server\.program.*endpoint"):
        find_program(ServerSettings(engine="vllm"))


def test_a_program_given_is_looked_for_under_its_name():
    with pytest.raises(MissingDependencyError, match=r"student\.server\.program: 'no-such-vllm'"):
        find_program(ServerSettings(engine="vllm", program="no-such-vllm"))
