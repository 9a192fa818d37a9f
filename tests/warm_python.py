"""Processes of `turnmix` that need not load torch and transformers first, which takes most of the time of a small run.

They are processes of their own, as `python -c PROGRAM …` would be, forked from a server that has loaded those already.
What is read while a Python starts must be the same for all: where it differs, a process is started from nothing.
"""

import array
import atexit
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
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


@cache
def _server():
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("warm_server.py")), str(there.fileno())],
        env=AT_FIRST,
        pass_fds=[there.fileno()],
        stdin=subprocess.DEVNULL,
    )
    there.close()

    def stop():
        here.close()
        process.wait()

    atexit.register(stop)
    return here


def _ask(request, descriptors=()):
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    with ONE_AT_A_TIME:
        _server().sendmsg([json.dumps(request).encode()], passed)
        return json.loads(_server().recv(1 << 10))


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
            self.pid = _ask(request, [each.fileno() for each in (nothing, stdout, stderr)])

    def poll(self):
        if self.returncode is None:
            self.returncode = _ask({"pid": self.pid})
        return self.returncode

    def wait(self, timeout=None):
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return self.returncode

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
        if is_warm and not any(name.startswith(READ_AT_START) for name in _differing(env)):
            return WarmProcess(program, *words, cwd=cwd, env=env, **streams)
        command = [sys.executable, "-c", program, *words]
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=nowhere, **streams)


def _differing(env):
    return {name for name in env.keys() | AT_FIRST.keys() if env.get(name) != AT_FIRST.get(name)}


def start_turnmix(*words, cwd, **options):
    """Begin `turnmix WORDS…`, with the options of `start_python`."""
    return start_python(MAIN, *words, cwd=cwd, **options)


def run_python(program, *words, cwd, env=None, timeout=400, is_warm=True):
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
