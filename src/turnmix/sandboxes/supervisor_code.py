"""The compiled program that a sandbox's interpreter is fed.

In: the interpreter that will run it. Out: what `BOOTSTRAP` reads from standard input. Sent as code,
the program needs no file inside the sandbox and no time to compile.
"""

from __future__ import annotations

import functools
import marshal
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.child_environment import child_environment
from turnmix.core.errors import SandboxError

MODULES = ("process_tree", "stillness", "watchdog", "files", "tree", "job", "confinement", "supervisor")
"""In the order of their imports."""

BOOTSTRAP = """
import marshal, os, sys
def take(n):
    d = b""
    while len(d) < n:
        p = os.read(0, n - len(d))
        if not p: os._exit(1)
        d += p
    return marshal.loads(d)
code, configuration = take(take(5)), take(take(5))
for name, module_code in code:
    module = sys.modules[name] = type(sys)(name)
    exec(module_code, module.__dict__)
module.main(configuration)
"""

_COMPILE = """
import marshal, sys
names = marshal.loads(sys.stdin.buffer.read())
code = [(name, compile(text, name, "exec", dont_inherit=True)) for name, text in names]
sys.stdout.buffer.write(marshal.dumps(code))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The Python that supervises a sandbox."""

    executable: str
    prefix: str | None = None
    """The directory to show inside for it; None: it lies under /usr."""


def find_interpreter() -> Interpreter:
    """The system's Python, which starts fastest and is there anyway; else the one that runs this, without
    packages."""
    if os.access("/usr/bin/python3", os.X_OK):
        return Interpreter(executable="/usr/bin/python3")
    prefix = os.path.realpath(sys.base_prefix)
    executable = f"{prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(executable=executable, prefix=None if prefix.startswith("/usr/") else prefix)


def opening_message(interpreter: Interpreter, configuration: Mapping[str, Any]) -> bytes:
    """What goes to the standard input of `interpreter -c BOOTSTRAP` first."""
    code = _compiled(interpreter)
    settings = marshal.dumps(dict(configuration), 2)
    return b"".join(marshal.dumps(len(part), 2) + part for part in (code, settings))


@functools.lru_cache
def _compiled(interpreter: Interpreter) -> bytes:
    folder = Path(__file__).parent / "inside"
    sources = [(f"turnmix.sandboxes.inside.{name}", (folder / f"{name}.py").read_text()) for name in MODULES]
    command = [interpreter.executable, "-I", "-S", "-c", _COMPILE]
    result = subprocess.run(
        command, input=marshal.dumps(sources, 2), capture_output=True, timeout=30, env=child_environment()
    )
    if result.returncode != 0:
        text = result.stderr.decode("utf-8", "replace")
        raise SandboxError(f"{interpreter.executable} could not compile the supervisor: {text}")
    return result.stdout
