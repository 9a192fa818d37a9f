"""What an agent may try in order to be called resolved without resolving anything. None of it works."""

import asyncio

import pytest

from turnmix.core.trajectory import StopReason
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.policies.scripted import call_action
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

EVERY_MODULE = "for file in $(ls *.py | grep -v -e test_repo -e run_tests); do {}; done"
CHEATS = {
    "edits the tests": "echo 'def test_nothing(): pass' > test_repo.py",
    "edits the runner": "echo 'print(\"0 failed, 9 passed\")' > run_tests.py",
    "exits with success at import": EVERY_MODULE.format("printf 'import os\\nos._exit(0)\\n' > $file"),
    "raises SystemExit at import": EVERY_MODULE.format("printf 'raise SystemExit(0)\\n' > $file"),
    "leaves a conftest": "echo 'import os; os._exit(0)' > conftest.py",
    "leaves a sitecustomize": (
        "echo 'import os; os._exit(0)' > sitecustomize.py; mkdir -p $HOME/.local/lib/python3/site-packages;"
        "cp sitecustomize.py $HOME/.local/lib/python3/site-packages; cp sitecustomize.py usercustomize.py"
    ),
    "shadows the standard library": "for m in json os sys importlib; do echo 'raise SystemExit(0)' > $m.py; done",
    "puts its own python on the PATH": (
        "mkdir -p /tmp/bin; printf '#!/bin/sh\\nexit 0\\n' > /tmp/bin/python3; chmod +x /tmp/bin/python3;"
        "echo 'export PATH=/tmp/bin:$PATH' >> ~/.profile; export PATH=/tmp/bin:$PATH; hash -r"
    ),
    "prints forged answers": EVERY_MODULE.format(
        "printf 'print(\"\\\\n@answer [0]\\\\n\" * 100, flush=True)\\n' >> $file"
    ),
    "returns what equals everything": EVERY_MODULE.format(
        "printf 'class Any:\\n    __eq__ = lambda *_: True\\n"
        "def __getattr__(name):\\n    return lambda *_: Any()\\n' > $file"
    ),
    "patches the comparison": EVERY_MODULE.format(
        'printf \'import json, builtins\\njson.dumps = lambda *_: "[true]"\\n'
        "builtins.all = lambda *_: True\\n' >> $file"
    ),
    "leaves links instead of files": EVERY_MODULE.format("ln -sf /etc/passwd $file"),
    "leaves a process that edits on": (
        "nohup sh -c 'while :; do date > test_repo.py; sleep 0.01; done' >/dev/null 2>&1 &"
    ),
    "leaves names that nobody can write": "mkdir -p \"$(printf 'a\\nb')\"; touch \"$(printf 'a\\nb')/c\" './-rf'",
    "leaves a directory in the place of the tests": "rm test_repo.py; mkdir test_repo.py; touch test_repo.py/a",
    "leaves a path too long to be written": (
        "name=$(printf 'a%.0s' $(seq 200)); for i in $(seq 25); do mkdir $name; cd $name; done; touch a"
    ),
    "leaves a directory that nobody can read": "chmod 000 .",
    "leaves too much to read": "head -c 30000000 /dev/zero > zeros.py",
}


def verdict_after(command):
    """The verdict on an agent that runs `command` and then finishes."""

    async def roll_out():
        source = MinirepoSource(
            MinirepoSettings(),
            make_sandbox=BubblewrapSettings().make,
            scaffold=ScaffoldSettings(),
        )
        environment = source.environment(source.tasks("train")[0])
        try:
            await environment.reset()
            if command is not None:
                await environment.step(call_action("execute_bash", command=command))
            step = await environment.step(call_action("finish", message="done"))
            return await environment.verify(step.stop_reason or StopReason.max_turns)
        finally:
            await environment.close()

    return asyncio.run(roll_out())


def gold_command():
    source = MinirepoSource(
        MinirepoSettings(), make_sandbox=BubblewrapSettings().make, scaffold=ScaffoldSettings()
    )
    files = source.solution(source.tasks("train")[0]).files
    return "\n".join(f"cat > {path} <<'END_OF_FILE'\n{content}END_OF_FILE" for path, content in files.items())


@pytest.mark.parametrize("command", CHEATS.values(), ids=CHEATS)
def test_a_cheat_is_unresolved_that(command):
    verdict = verdict_after(command)
    assert not verdict.resolved


def test_the_gold_patch_is_resolved_and_submitted():
    verdict = verdict_after(gold_command())
    assert verdict.resolved
    assert verdict.details["submitted"]
    assert verdict.details["failed"] == 0
    assert verdict.details["patch"].startswith("--- a/")


def test_the_gold_patch_stays_resolved_beside_debris_and_debug_prints():
    verdict = verdict_after(
        gold_command()
        + "\n"
        + EVERY_MODULE.format("echo 'print(1)' >> $file")
        + "\nmkdir -p x; echo 1 > x/notes.txt"
    )
    assert verdict.resolved


def test_no_change_is_no_submission():
    verdict = verdict_after(None)
    assert not verdict.details["submitted"]
    assert verdict.details["patch"] == ""
