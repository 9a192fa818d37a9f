"""Harbor task directories made for tests, as Harbor's own docs describe them, and what plays them."""

import asyncio
import os
import subprocess
import textwrap

from container_runtime import DEBIAN, settings

from turnmix.environments.environment import TaskParts
from turnmix.environments.harbor.source import HarborSettings
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import call_action
from turnmix.sandboxes.selection import ContainerSandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

SERVED = f"localhost/turnmix-test-served-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}:1"
"""A name of its own for an image: Harbor removes the images of a task that it has played, also where other tests play
at the same time."""
TOML = """\
schema_version = "1.1"
[task]
name = "turnmix/{name}"
[metadata]
difficulty = "easy"
[verifier]
timeout_sec = 60.0
[agent]
timeout_sec = 120.0
[environment]
build_timeout_sec = 600.0
"""
REWARDED = """\
#!/bin/bash
if [ "$(cat /app/hello.txt)" = hello ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt
"""
SORTING = """\
#!/bin/bash
set -u
. "$(dirname "$0")/lib/how.sh"
exec sort $ORDER /data/numbers.txt -o sorted.txt
"""
SERVING = f"""\
docker_image = "{SERVED}"
workdir = "/srv"
cpus = 1
memory_mb = 1024
[environment.env]
PORT = "8123"
"""


def laid(folder, name, *, toml="", files=None, **replaced):
    """A task that is well-formed, but for what is replaced; a value of None leaves a file out."""
    directory = folder / name
    content = {
        "task.toml": TOML.format(name=name) + toml,
        "instruction.md": "Write the word hello into hello.txt.\n",
        "environment/Dockerfile": f"FROM {DEBIAN}\nWORKDIR /app\n",
        "tests/test.sh": REWARDED,
        "solution/solve.sh": "#!/bin/bash\nset -e\necho hello > hello.txt\n",
        **(files or {}),
    }
    for path, text in content.items():
        if text is not None:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(
                text if isinstance(text, bytes) else textwrap.dedent(text).encode()
            )
    return directory


def tag_served():
    subprocess.run(["podman", "tag", DEBIAN, SERVED], check=True)


def three_tasks(folder):
    """One with a text as reward, one with several numbers and a part of the reward for nothing, one of an image that is
    there, whose agent must leave a server running."""
    tag_served()
    laid(folder, "greeting")
    laid(
        folder,
        "sorting",
        toml='[solution.env]\nORDER = "-n"\n[verifier.env]\nEXPECTED = "${NOBODY_SETS_THIS:-1 2 10}"\n',
        files={
            "environment/Dockerfile": f"FROM {DEBIAN}\nCOPY data /data/\nRUN mkdir -m 700 /work\nWORKDIR /work\n",
            "environment/data/numbers.txt": "10\n2\n1\n",
            "environment/.dockerignore": "notes.txt\n",
            "environment/notes.txt": "not for anybody",
            "instruction.md": "<!-- some-canary 123 -->\n\nSort /data/numbers.txt into sorted.txt.\n",
            "solution/solve.sh": SORTING,
            "solution/lib/how.sh": b"# it needs: \xff\n:\n",
            "tests/test.sh": "#!/bin/bash\npython3 /tests/check.py\nexit 3\n",
            "tests/check.py": """\
                import json, os, pathlib
                path = pathlib.Path("sorted.txt")
                right = path.exists() and path.read_text().split() == os.environ["EXPECTED"].split()
                rewards = {"reward": 1.0 if right else 0.25, "written": int(path.exists())}
                pathlib.Path("/logs/verifier/reward.json").write_text(json.dumps(rewards))
                """,
        },
    )
    laid(
        folder,
        "serving",
        toml=SERVING,
        files={
            "environment/Dockerfile": None,
            "environment/page.txt": "a page",
            "instruction.md": "Serve /srv on port 8123.\n",
            "solution/solve.sh": """\
                #!/bin/bash
                nohup python3 -m http.server $PORT > /dev/null 2>&1 &
                until (: < /dev/tcp/127.0.0.1/$PORT) 2> /dev/null; do sleep 0.1; done
                """,
            "tests/test.sh": """\
                #!/bin/bash
                python3 - <<'END'
                import urllib.request
                try:
                    page = urllib.request.urlopen("http://127.0.0.1:8123/page.txt", timeout=50).read()
                except OSError:
                    page = b""
                open("/logs/verifier/reward.txt", "w").write("1.0\\n" if page == b"a page" else "0.0\\n")
                END
                """,
        },
    )  # fmt: skip


EXPECTED = {
    ("greeting", "oracle"): {"reward": 1.0},
    ("greeting", "nop"): {"reward": 0.0},
    ("sorting", "oracle"): {"reward": 1.0, "written": 1},
    ("sorting", "nop"): {"reward": 0.25, "written": 0},
    ("serving", "oracle"): {"reward": 1.0},
    ("serving", "nop"): {"reward": 0.0},
}


def source_of(path, *, container=None, **said):
    """The source of a recipe whose containers have no network, but for what is said."""
    chosen = ContainerSandboxSettings(container=container or settings())
    harbor = HarborSettings(path=path, **{"without_network": True, "holdout": "all", **said})
    parts = TaskParts(make_sandbox=chosen.make, scaffold=ScaffoldSettings(no_output_seconds=60.0), seed=0)
    return harbor.make(parts)


async def play(source, task, acts=None):
    """The last state's messages and the verdict. `acts`: what is done in place of what the expert does."""
    world = source.environment(task)
    session = source.expert().begin(Episode(trajectory_id="t", task=task, seed=0, inspectable=world))
    try:
        state = await world.reset()
        for number in range(20):
            action = await session.act(state) if acts is None else acts[number]
            step = await world.step(action)
            state = type(state)(
                messages=(*state.messages, action.message, *step.observation), tools=state.tools
            )
            if step.stop_reason is not None:
                break
        return state.messages, await world.verify(step.stop_reason)
    finally:
        await world.close()


def played(source, acts=None, *, name=None):
    """Of the only task, or the one of this name."""
    (task,) = [task for task in source.tasks("holdout") if name in (None, task.id)]
    return asyncio.run(play(source, task, acts))


NOTHING = [call_action("finish", message="done")]


def bash(*commands):
    return [*(call_action("execute_bash", command=command) for command in commands), *NOTHING]
