"""The issue text of a task, from the tests that fail: by template, or by a model behind an endpoint.

In: what fails, how. Out: the problem statement. It is never told where the bug is or what fixes it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from turnmix.core.errors import InfrastructureError
from turnmix.core.message import Message
from turnmix.core.task import Task
from turnmix.core.trajectory import State
from turnmix.policies.policy import Episode, Policy
from turnmix.task_making.hidden_tests import place, test_source
from turnmix.task_making.python_source import UNREADABLE

MOST_SHOWN = 3
LONGEST_SOURCE, LONGEST_MESSAGE = 2000, 800
ERRORS = (
    "`{told}` is raised where nothing should be.",
    "I get `{told}`, and should not.",
    "This ends in `{told}`.",
)
RESULTS = (
    "A result is wrong: `{told}` does not hold.",
    "I expect `{told}`, and it is not so.",
    "Unexpected behaviour: `{told}` fails.",
)
UNTOLD = ("Something does not work as it should.", "What is below does not work.", "Unexpected behaviour.")
LONGEST_OPENING = 160
_ERROR = re.compile(r"(?:[\w.]+\.)?\w*(?:Error|Exception|Exit|Interrupt|Warning)\b(?:: .*)?")
CLOSINGS = (
    "Please find the cause in the package's own code and repair it; everything else should stay as it is.",
    "The fix belongs in the package, and must not break what works today.",
    "Please repair this without changing other behaviour.",
)
INSTRUCTIONS = (
    "Write a bug report for a Python package as a user who hit the problem would write it: a short title, what "
    "was done, what happened, what was expected, with a small example in code. You are given checks that fail "
    "and how. Do not mention tests or test names, do not guess the cause, do not propose a fix."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One check that fails."""

    name: str
    """Of the test function."""
    source: str
    """Of the test function; empty when it is not known."""
    message: str
    """How it failed."""


class IssueWriter(Protocol):
    async def write(self, failures: Sequence[Failure], generator: random.Random) -> str:
        """The problem statement for a bug that shows in `failures`. Raises InfrastructureError."""
        ...


def collect_failures(
    tests: Sequence[str], messages: Mapping[str, str], files: Mapping[str, str]
) -> list[Failure]:
    """One failure for each of the first few test functions. `files`: the test files' sources."""
    failures: dict[str, Failure] = {}
    for test in tests:
        path, names = place(test)
        key = test.partition("[")[0]
        if key in failures or len(failures) == MOST_SHOWN:
            continue
        try:
            source = test_source(files.get(path, ""), names) or ""
        except UNREADABLE:
            source = ""
        failures[key] = Failure(
            name=names[-1] if names else path,
            source=source[:LONGEST_SOURCE],
            message=(messages.get(test) or _collection_error(messages.get(path, "")))[:LONGEST_MESSAGE],
        )
    return list(failures.values())


def _collection_error(message: str) -> str:
    """Of a module of tests that could not be imported, the error alone: the rest shows where the tests lie."""
    errors = [line[1:].strip() for line in message.splitlines() if re.match(r"E\s+\S", line)]
    return errors[-1] if errors else ""


def opening(failure: Failure, generator: random.Random) -> str:
    """The first sentence of an issue, by how the check fails."""
    line = (failure.message.strip().splitlines() or [""])[0].strip().replace("`", "'")
    told = line.removeprefix("AssertionError: ").removeprefix("assert ")[:LONGEST_OPENING]
    if not told or told == "AssertionError":
        return generator.choice(UNTOLD)
    is_error = _ERROR.fullmatch(line) and not line.startswith("AssertionError")
    return generator.choice(ERRORS if is_error else RESULTS).format(told=told)


class TemplateIssueWriter:
    """Issue texts for nothing, the same for the same failures and generator."""

    async def write(self, failures: Sequence[Failure], generator: random.Random) -> str:
        parts = [opening(failures[0], generator)]
        for failure in failures:
            if failure.source:
                parts.append(f"This should work, but does not:\n\n```python\n{failure.source}\n```")
            else:
                parts.append(f"`{failure.name}` does not work.")
            if failure.message:
                parts.append(f"It ends with\n\n```\n{failure.message}\n```")
        return "\n\n".join([*parts, generator.choice(CLOSINGS)]) + "\n"


class PolicyIssueWriter:
    """Issue texts by a model; by template where its answer is unusable or it cannot be asked."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._template = TemplateIssueWriter()
        self.num_replaced = 0
        """Texts that the template wrote after all."""

    async def write(self, failures: Sequence[Failure], generator: random.Random) -> str:
        facts = "\n\n".join(f"{failure.source}\n\n{failure.message}" for failure in failures)
        task = Task(id="issue", problem_statement=facts)
        episode = Episode(trajectory_id="issue", task=task, seed=generator.getrandbits(62))
        session = self._policy.begin(episode)
        told = (Message(role="system", content=INSTRUCTIONS), Message(role="user", content=facts))
        try:
            text = (await session.act(State(messages=told, tools=()))).message.content.strip()
        except InfrastructureError:
            text = ""
        finally:
            await session.close()
        if len(text) < 40 or any(failure.name in text for failure in failures):
            self.num_replaced += 1
            return await self._template.write(failures, generator)
        return text + "\n"
