"""A poor policy to learn a format from: it calls every tool correctly, on things it has seen, for no good reason.

Its actions are drawn from what the observations hold (names, places, lines). It knows what a line should be and often
writes that, but not which line is wrong: a model that imitates it learns to write calls, to copy exactly and what
correct code looks like, but not what to decide.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.environments.minirepo.injectors import mutate_line
from turnmix.environments.minirepo.repository import TEST_COMMAND
from turnmix.environments.oracle.solution import Solution
from turnmix.environments.workspace import workspace_of
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action

DEFINITION = re.compile(r"\./(\w+\.py):(\d+):def (\w+)\(")
NAME = re.compile(r"\b(?:test_)?([a-z]+_[a-z]+)\b")
SHOWN = re.compile(r"^ *(\d+)\t(.*)$", re.MULTILINE)
NO_NAMES = {"run_tests", "test_repo"}


CORRECT_SHARE = 0.6
"""Of its edits: those that write the line as it should be."""


def make_wanderer(name: str, seed: int, solution: Callable[[Task], Solution]) -> ScriptedPolicy:
    """A policy whose every action is drawn from (seed, trajectory, turn)."""

    def script(episode: Episode, state: State) -> Action:
        generator = random.Random(f"{seed} {episode.trajectory_id} {len(state.messages)}")
        return wander(state, {**workspace_of(episode.task).files, **solution(episode.task).files}, generator)

    return ScriptedPolicy(name, script)


def wander(state: State, gold: Mapping[str, str], generator: random.Random) -> Action:
    """A well-formed action on things that `state` shows; `gold` holds the correct files."""
    observed = "\n".join(message.content for message in state.messages if message.role in ("tool", "user"))
    choices = [lambda: call_action("execute_bash", command=TEST_COMMAND)]
    names = sorted(set(NAME.findall(observed)) - NO_NAMES)
    definitions = sorted(set(DEFINITION.findall(observed)))
    if names:
        choices += 2 * [lambda: _search(generator.choice(names))]
    if definitions:
        choices += 2 * [lambda: view(*generator.choice(definitions)[:2])]
        choices += [
            lambda: call_action("execute_bash", command=f"git checkout {generator.choice(definitions)[0]}")
        ]
    if viewed := _last_view(state):
        choices += 3 * [lambda: rewrite(*viewed, gold, generator)]
    if generator.random() < 0.03:
        return call_action("finish", message="done")
    return generator.choice(choices)()


def _search(name: str) -> Action:
    return call_action("execute_bash", command=f'grep -rn "def {name}" .')


def view(path: str, line: str) -> Action:
    return call_action(
        "str_replace_editor", command="view", path=f"/testbed/{path}", view_range=[int(line), -1]
    )


def _last_view(state: State) -> tuple[str, list[tuple[str, str]]] | None:
    """The file that was viewed last, and the numbered lines of its first function that were shown."""
    for action, observation in reversed(list(zip(state.messages, state.messages[1:]))):
        arguments = action.tool_calls[-1].arguments if action.tool_calls else {}
        if arguments.get("command") == "view":
            shown = SHOWN.findall(observation.content)
            ends = [position for position, (_, text) in enumerate(shown) if position and not text.strip()]
            function = shown[: ends[0]] if ends else shown
            if len(function) > 2:
                return str(arguments["path"]).removeprefix("/testbed/"), function
    return None


def rewrite(
    path: str,
    function: list[tuple[str, str]],
    gold: Mapping[str, str],
    generator: random.Random,
    *,
    place: int | None = None,
    correct_share: float = CORRECT_SHARE,
) -> Action:
    """Write the line at `place` of a function that was shown as (number, text) lines, or one drawn from its body and
    its defaults: as it should be, or in one of the ways in which lines are wrong."""
    signature = function[0][1]
    if place is None:
        place = generator.choice([0] * ("=" in signature) + list(range(2, len(function))))
    number, line = function[place]
    correct = _correct_line(gold.get(path, ""), signature, place)
    if correct is None or generator.random() >= correct_share:
        correct = _wrong_line(line, signature, place, generator)
    return call_action("execute_bash", command=f"sed -i '{number}c\\{correct}' {path}")


def _correct_line(gold: str, signature: str, place: int) -> str | None:
    """The line at `place` of the function that `signature` begins."""
    name = signature.partition("(")[0]
    _, found, rest = gold.partition(f"{name}(")
    lines = f"{name}({rest}".partition("\n\n")[0].rstrip("\n").split("\n") if found else []
    return lines[place] if place < len(lines) else None


def _wrong_line(line: str, signature: str, place: int, generator: random.Random) -> str:
    parameters = re.findall(r"(\w+)(?:=\d+)?[,)]", signature)
    try:
        changed = sorted({text for _, text in mutate_line(line, parameters, is_signature=place == 0)})
    except SyntaxError:
        changed = []
    indentation = line[: len(line) - len(line.lstrip())]
    changed.append(indentation + "return " + line.strip() if "return" not in line else line)
    return generator.choice(changed)
