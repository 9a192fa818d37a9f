"""The server of `warm_python`: loads what every run loads once, and forks for each process that it is asked to start.

argument: the file descriptor of a socket, on which requests come one at a time, as JSON: what to start, with its
standard streams, or the id of a process of which to tell whether and how it has ended.
"""

import atexit
import gc
import importlib
import json
import os
import resource
import socket
import sys
import threading
import types

LOADED = (
    "accelerate.tracking",
    "matplotlib.backends.backend_agg",
    "peft",
    "scipy.stats",
    "torch.utils.tensorboard",
    "transformers.models.qwen3.modeling_qwen3",
    "turnmix.cli.analyse",
    "turnmix.cli.arguments",
    "turnmix.cli.evaluate",
    "turnmix.cli.report",
    "turnmix.cli.show",
    "turnmix.cli.train",
    "turnmix.loop.loop",
    "turnmix.policies.local.loading",
    "turnmix.policies.local.policy",
    "turnmix.training.checkpoint",
    "turnmix.training.learner",
)
MOST_BYTES = 1 << 20


def load():
    for name in LOADED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # an optional package is not installed
                raise
    gc.collect()
    gc.freeze()


def serve(requests):
    """In the server never more than requests; what it forks gets what it has to run."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, MOST_BYTES, 3)
        if not message:
            sys.exit()
        asked = json.loads(message)
        if "pid" in asked:
            pid, status = os.waitpid(asked["pid"], os.WNOHANG)
            requests.sendall(json.dumps(os.waitstatus_to_exitcode(status) if pid else None).encode())
            continue
        if (pid := os.fork()) == 0:
            requests.close()
            return asked, descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        requests.sendall(json.dumps(pid).encode())


def become(asked, descriptors):
    """What `python -c` would find in the process that was asked for."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for kind, limits in asked["limits"]:
        resource.setrlimit(kind, limits)
    sys.argv = ["-c", *asked["words"]]
    sys.path[0] = ""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    return compile(asked["program"], "<string>", "exec"), main.__dict__


def run(program, names):
    """As Python would, but for the end of a program that ends by itself: the interpreter is not taken down with all
    that the server loaded, which took longer than most programs."""
    status = 0
    try:
        exec(program, names)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        status = ended.code or 0
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # Python tells of it.
        sys.exit(status)
    os._exit(status & 0xFF)


load()
run(*become(*serve(socket.socket(fileno=int(sys.argv[1])))))
