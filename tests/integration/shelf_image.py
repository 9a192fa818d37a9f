"""An image like SWE-Gym's, made without a registry: a repository in /testbed, and a conda that only sets variables.

Its git knows more than the agent may: the fix is on a branch, on a tag, on a remote's branch, in the log of
references and in an object that nothing reaches.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from typing import Any

from container_runtime import DEBIAN, make_container, settings

from published_rows import GOLD, gym_row
from turnmix.environments.repositories.adapters.swe_bench import from_swe_gym
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.container.engine import engine_for
from turnmix.sandboxes.container.images import has_image
from turnmix.sandboxes.container.sandbox import ContainerSandbox

SHELF = "def take(items, count):\n    return items[:count - 1]\n"
TESTS = '"""Tests."""\nfrom shelf import take\n\n\ndef test_none():\n    assert take([], 0) == []\n'
SECRET = "the fix itself"
SCRIPT = f"""set -e
mkdir -p /opt/miniconda3/bin /opt/testbed/bin /testbed/tests
ln -sf /usr/bin/python3 /opt/testbed/bin/python
cat > /opt/miniconda3/bin/activate <<'END'
conda() {{ export CONDA_DEFAULT_ENV="$2" PATH="/opt/testbed/bin:$PATH" PYTHONPATH=/testbed; }}
END
cd /testbed
cat > shelf.py <<'END'
{SHELF}END
cat > tests/test_shelf.py <<'END'
{TESTS}END
printf 'build/\\n__pycache__/\\n' > .gitignore
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
git init -q -b main
echo one > history.txt; git add -A; git commit -q -m 'Before'
rm history.txt; git add -A; git commit -q -m 'Base'
sed -i 's/count - 1/count/' shelf.py; git commit -q -am '{SECRET}'
git tag v2; git branch later; git update-ref refs/remotes/origin/main HEAD
git remote add origin https://example.com/shelf.git
echo '{SECRET}, unreachable' | git hash-object -w --stdin > /dev/null
git stash list; git reset -q --hard HEAD~1
mkdir build; echo built > build/out; echo 'installed here' > setup.log
"""


@functools.cache
def shelf_image() -> str:
    """The image's name; it is made at the first call of all."""
    api = engine_for(settings()).api
    content = api.inspect_image(DEBIAN)["Id"] + SCRIPT
    repository, tag = "localhost/turnmix-shelf", hashlib.sha256(content.encode()).hexdigest()[:12]
    if not has_image(api, f"{repository}:{tag}"):
        asyncio.run(_make(api, repository, tag))
    return f"{repository}:{tag}"


async def _make(api: Any, repository: str, tag: str) -> None:
    sandbox = make_container()
    try:
        await sandbox.start()
        made = await sandbox.run("exec bash -s", stdin=SCRIPT.encode(), timeout=120.0)
        assert made.exit_code == 0, made.output
        api.commit(sandbox.name, repository, tag)
    finally:
        await sandbox.stop()


@functools.cache
def in_image(command: str) -> str:
    """What a command prints in a fresh container of the image."""
    return asyncio.run(_printed(make_container(image=shelf_image()), command))


async def _printed(sandbox: ContainerSandbox, command: str) -> str:
    try:
        await sandbox.start()
        return (await sandbox.run(command)).output.decode().strip()
    finally:
        await sandbox.stop()


def base_commit() -> str:
    return in_image("git -C /testbed rev-parse HEAD")


def shelf_row(name: str = "Project-MONAI__MONAI-1010", **changes: object) -> TaskRow:
    """A row of SWE-Gym as its adapter reads it, in the image made here."""
    row = from_swe_gym(gym_row(instance_id=name, base_commit=base_commit(), patch=GOLD))
    return TaskRow.model_validate({**row.model_dump(), "image": shelf_image(), **changes})
