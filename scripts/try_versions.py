"""Try TurnMix on the newest or the oldest releases that it allows, in an environment of its own.

    newest    resolves the newest of every dependency, runs lint, types and all tests on them, and, where these pass,
              writes `constraints.txt`: the tested set that `make demo` and `make test` install from
    oldest    resolves the oldest that `pyproject.toml` allows and runs the tests on them; it writes nothing

torch stays at its version in `constraints.txt`, since another one may come with several GB of CUDA; `--torch 2.14.1`
tries that one. What changed is said before the tests, what broke behind them, and the exit status is that of the tests.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTED = ROOT / "constraints.txt"
TORCH_BRINGS = re.compile(r"(cuda|nvidia)-|triton==")
"""What torch itself asks for by exact version, or not at all on a CPU."""
APART = "verifiers"
"""An extra that wants an older openai than the tests do: its own tests have an environment of their own."""
HEAD = """\
# The versions on which TurnMix was last tested as a whole. `make newest` writes this file; do not edit it.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("end", choices=["newest", "oldest"])
    parser.add_argument("--torch", metavar="VERSION", help="try this version of torch")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to try them with")
    options = parser.parse_args()

    environment = ROOT / f".venv-{options.end}"
    run([options.python, "-m", "venv", "--clear", str(environment)])
    run([str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"])
    found = resolved(environment, newest=options.end == "newest", torch=options.torch)
    candidate = environment / "constraints.txt"
    candidate.write_text(HEAD + "\n".join(found) + "\n", encoding="utf-8")
    changed = changes(pins(TESTED.read_text(encoding="utf-8").splitlines()), pins(found))
    print(
        f"{options.end} versions that differ from constraints.txt: {len(changed)}",
        *changed,
        sep="\n  ",
        flush=True,
    )

    make = ["make", f"VENV={environment.name}", f"PYTHON={options.python}", f"CONSTRAINTS={candidate}"]
    tests = "test" if options.end == "newest" else "tests"  # an old linter or type checker judges otherwise
    result = subprocess.run([*make, tests], cwd=ROOT, check=False)
    if result.returncode:
        print(f"the {options.end} versions broke what failed above; constraints.txt stays as it was")
    elif options.end == "newest":
        TESTED.write_text(candidate.read_text(encoding="utf-8"), encoding="utf-8")
        print("all tests pass on the newest versions: constraints.txt now holds them")
    else:
        print("the tests pass on the oldest versions that pyproject.toml allows")
    return result.returncode


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def resolved(environment: Path, *, newest: bool, torch: str | None) -> list[str]:
    """The lines of a constraints file. The newest hold for every Python that is supported, the oldest for this one."""
    command = [str(environment / "bin" / "uv"), "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += [f"--extra={name}" for name in extras() if name != APART] + ["pyproject.toml"]
    if newest:
        version = torch or pins(TESTED.read_text(encoding="utf-8").splitlines())["torch"]
        pinned = environment / "torch.txt"
        pinned.write_text(f"torch=={version}\n", encoding="utf-8")
        command += ["--universal", "--python-version", "3.10", "--constraint", str(pinned)]
    else:
        command += ["--python", str(environment / "bin" / "python"), "--resolution", "lowest-direct"]
    environment_variables = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, env=environment_variables
    )
    return [line for line in done.stdout.splitlines() if line and not TORCH_BRINGS.match(line)]


def extras() -> list[str]:
    """The names under [project.optional-dependencies]."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.split("[project.optional-dependencies]\n", 1)[1].split("\n[", 1)[0]
    return re.findall(r"^([\w-]+) = \[", section, flags=re.MULTILINE)


def pins(lines: list[str]) -> dict[str, str]:
    """Version by name; of several, for several Pythons, all.

    >>> pins(["numpy==2.2.6 ; python_full_version < '3.11'", "numpy==2.5.5 ; python_full_version >= '3.12'"])
    {'numpy': '2.2.6 or 2.5.5'}
    """
    found: dict[str, str] = {}
    for line in lines:
        if match := re.match(r"([\w.-]+)==([^\s;]+)", line):
            name, version = match.groups()
            found[name] = f"{found[name]} or {version}" if name in found else version
    return found


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    names = sorted(before.keys() | after.keys())
    differing = [name for name in names if before.get(name) != after.get(name)]
    return [f"{name}: {before.get(name, 'not there')} → {after.get(name, 'not there')}" for name in differing]


if __name__ == "__main__":
    sys.exit(main())
