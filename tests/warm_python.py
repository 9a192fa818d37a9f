"""Processes of `turnmix` that need not load torch and transformers first, which takes most of the time of a small run.

They are processes of their own, as `python -c PROGRAM …` would be, forked from a server that has loaded those already.
What is read while a Python starts must be the same for all: where it differs, a process is started from nothing, or
from a server of its own where `keep_warm` asks for one.
"""

import array
import atexit
import json
import os
import resource
import select
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

from strict_environment import strict_environment

MAIN = "import sys; from turnmix.cli import main; sys.exit(main())"
READ_AT_START = (
    *("PYTHON", "HF_", "TRANSFORMERS_", "TORCH", "OMP_", "MKL_", "CUDA_", "LC_", "LANG", "LD_"),
    *("HOME", "XDG_CACHE", "TMPDIR", "TZ"),
)
LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
AT_FIRST = strict_environment()
ONE_AT_A_TIME = threading.Lock()


def _read_at_start(env):
    return tuple(sorted((name, value) for name, value in env.items() if name.startswith(READ_AT_START)))


SERVED = {_read_at_start(AT_FIRST)}


def keep_warm(env):
    """Fork also the processes of this environment: worth it for three of them and more."""
    SERVED.add(_read_at_start(env))


@cache
def _server(read_at_start):
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("warm_server.py")), str(there.fileno())],
        env={
            **{name: value for name, value in AT_FIRST.items() if not name.startswith(READ_AT_START)},
            **dict(read_at_start),
        },
        pass_fds=[there.fileno()],
        stdin=subprocess.DEVNULL,
    )
    there.close()

    def stop():
        here.close()
        process.wait()

    atexit.register(stop)
    return here


def _ask(server, request, descriptors=()):
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    with ONE_AT_A_TIME:
        server.sendmsg([json.dumps(request).encode()], passed)
        return json.loads(server.recv(1 << 10))


class WarmProcess:
    """As much of `subprocess.Popen` as tests use."""

    def __init__(self, program, *words, cwd, env, stdout, stderr):
        self.args = ["-c", program, *words]
        self.returncode = None
        request = {
            "program": program,
            "words": words,
            "cwd": str(cwd),
            "env": env,
            "limits": [(kind, resource.getrlimit(kind)) for kind in LIMITS],
        }
        with open(os.devnull, "rb") as nothing:
            with ONE_AT_A_TIME:
                self.server = _server(_read_at_start(env))
            self.pid = _ask(self.server, request, [each.fileno() for each in (nothing, stdout, stderr)])

    def poll(self):
        if self.returncode is None:
            self.returncode = _ask(self.server, {"pid": self.pid})
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            ended = os.pidfd_open(self.pid)  # it is there, or a zombie, until it is polled
            waiting = select.poll()
            waiting.register(ended, select.POLLIN)
            try:
                if not waiting.poll(None if timeout is None else timeout * 1000):
                    raise subprocess.TimeoutExpired(self.args, timeout)
            finally:
                os.close(ended)
        return self.poll()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(9)


def start_python(program, *words, cwd, stdout=None, stderr=None, env=None, is_warm=True):
    """Begin `python -c PROGRAM WORDS…`; its streams go to files, or nowhere."""
    env = strict_environment() if env is None else env
    with open(os.devnull, "r+b") as nowhere:
        streams = {"stdout": stdout or nowhere, "stderr": stderr or nowhere}
        if is_warm and _read_at_start(env) in SERVED:
            return WarmProcess(program, *words, cwd=cwd, env=env, **streams)
        command = [sys.executable, "-c", program, *words]
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=nowhere, **streams)


def start_turnmix(*words, cwd, **options):
    """Begin `turnmix WORDS…`, with the options of `start_python`."""
    return start_python(MAIN, *words, cwd=cwd, **options)


def run_python(program, *words, cwd, env=None, timeout=1500, is_warm=True):
    """What `python -c PROGRAM WORDS…` comes to: `returncode`, `stdout` and `stderr`, which are text."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start_python(program, *words, cwd=cwd, env=env, stdout=out, stderr=err, is_warm=is_warm)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return subprocess.CompletedProcess([program, *words], code, *texts)


def run_turnmix(*words, cwd, **options):
    """What `turnmix WORDS…` comes to, with the options of `run_python`."""
    return run_python(MAIN, *words, cwd=cwd, **options)
