"""Harbor's own runner, in an environment of its own, with Podman as it is set for the container tests.

`needs_harbor` skips a test where it is not installed, and says what to do.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from container_runtime import MISSING

ROOT = Path(__file__).parents[2]
PROGRAM = Path(os.environ.get("TURNMIX_HARBOR_PROGRAM", ROOT / ".venv-harbor" / "bin" / "harbor"))
needs_harbor = pytest.mark.skipif(
    bool(MISSING) or not PROGRAM.exists(),
    reason=MISSING or "Harbor is not installed: sh scripts/make_harbor.sh .venv-harbor",
)
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
exit_command_delay = 1
stop_timeout = 1
runtime = "runc"
"""
IS_VALID = """\
import sys
from harbor.models.task.task import Task
print(*[Task(path).instruction for path in sys.argv[1:] if Task.is_valid_dir(path)], sep="\\0")
"""


def environment(folder):
    (folder / "containers.conf").write_text(CONTAINERS)
    return {
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the web for one, three times
        "HARBOR_TELEMETRY": "0",
    }


def instructions(*directories):
    """What Harbor's library tells agents, of the directories that it takes for tasks."""
    words = [str(PROGRAM.with_name("python")), "-c", IS_VALID, *map(str, directories)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")


def harbor_rewards(tasks, folder, *, agent):
    """By task and agent (oracle or nop): the rewards that Harbor's own trials come to, or what went wrong. It removes
    the images of a task after each trial."""
    folder.mkdir()
    job = {
        "jobs_dir": str(folder),
        "job_name": "job",
        "n_concurrent_trials": 1,
        "quiet": True,
        "timeout_multiplier": 20,  # a busy machine takes long to ask podman-compose anything
        "environment": {"type": "podman"},
        "agents": [{"name": agent}],
        "datasets": [{"path": str(tasks)}],
    }
    (folder / "job.json").write_text(json.dumps(job))
    words = [str(PROGRAM), "run", "-c", str(folder / "job.json"), "--yes"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(folder), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for path in (folder / "job").glob("*/result.json"):
        result = json.loads(path.read_text())
        verdict, wrong = result["verifier_result"], result["exception_info"]
        name = result["task_name"].removeprefix("turnmix/")
        found[name, result["agent_info"]["name"]] = verdict["rewards"] if verdict else wrong
    return found
