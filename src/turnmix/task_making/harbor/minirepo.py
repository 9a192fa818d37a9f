"""A minirepo as a Harbor task: the same calls decide it, and the same process boundary keeps their values."""

from __future__ import annotations

from importlib import resources

from turnmix.core.json_text import json_text
from turnmix.core.task import Task
from turnmix.environments.minirepo.source import MinirepoSource
from turnmix.environments.minirepo.verifier import CALLER, TIMEOUT_SECONDS, unified_patch
from turnmix.environments.workspace import workspace_of
from turnmix.task_making.harbor.directory import REWARD, HarborDirectory


def minirepo_directory(source: MinirepoSource, task: Task) -> HarborDirectory:
    """In: a task of the source."""
    workspace = workspace_of(task)
    solution = source.solution(task)
    before = dict(workspace.files)
    gold = {name: text.encode() for name, text in {**before, **solution.files}.items()}
    cases = [
        {
            "module": case.module,
            "function": case.function,
            "arguments": case.arguments,
            "expected": case.expected,
        }
        for case in source.cases(task)
    ]
    check = resources.files("turnmix.task_making.harbor.inside") / "minirepo_check.py"
    script = f"#!/bin/sh\nexec python3 -I -S -B /tests/check.py {workspace.working_directory} {REWARD}\n"
    return HarborDirectory(
        name=task.id,
        problem_statement=task.problem_statement,
        working_directory=workspace.working_directory,
        repository={f"repository/{name}": text.encode() for name, text in before.items()},
        lay=("COPY repository/ ./",),
        tests={
            "test.sh": script.encode(),
            "check.py": check.read_bytes(),
            "caller.py": CALLER.encode(),
            "cases.json": json_text(cases).encode(),
        },
        gold_patch=unified_patch(before, gold).encode(),
        test_seconds=TIMEOUT_SECONDS,
    )
