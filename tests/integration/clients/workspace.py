"""What every client here needs of its task: what to do, and a shell where it lies."""

import json
import os
import subprocess

with open(os.environ["TURNMIX_TASK"]) as file:
    TASK = json.load(file)
TURNS = int(os.environ.get("MOST_TURNS", "30"))
SYSTEM = "You repair Python repositories. The tests: python3 run_tests.py"
GO_ON = "Call a tool; when all is done, finish."
SCHEMAS = {
    "bash": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    "finish": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
}
DESCRIPTIONS = {"bash": "Run a shell command.", "finish": "End. The task is done."}


def bash(command):
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, errors="replace", timeout=60,
        cwd=TASK["working_directory"],
    )  # fmt: skip
    return (done.stdout + done.stderr)[:10_000] + f"\n[exit status {done.returncode}]"


def carry_out(arguments):
    """`arguments` of a call, as an object or as its JSON text."""
    try:
        return bash((json.loads(arguments) if isinstance(arguments, str) else arguments)["command"])
    except (ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
