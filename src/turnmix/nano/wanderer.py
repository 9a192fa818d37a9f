"""A poor policy to learn a format from: it calls every tool correctly, on things it has seen, for no good reason.

Its actions are drawn from what the observations hold (names, places, lines), so a model that imitates it learns to
write calls and to copy exactly, and how to change a line, but not what to decide.
"""

from __future__ import annotations

import random
import re

from turnmix.core.trajectory import Action, State
from turnmix.environments.minirepo.injectors import mutate_line
from turnmix.environments.minirepo.repository import TEST_COMMAND
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action

DEFINITION = re.compile(r"\./(\w+\.py):(\d+):def (\w+)\(")
NAME = re.compile(r"\b(?:test_)?([a-z]+_[a-z]+)\b")
SHOWN = re.compile(r"^ *(\d+)\t(.*)$", re.MULTILINE)
NO_NAMES = {"run_tests", "test_repo"}


def make_wanderer(name: str, seed: int) -> ScriptedPolicy:
    """A policy whose every action is drawn from (seed, trajectory, turn)."""

    def script(episode: Episode, state: State) -> Action:
        return wander(state, random.Random(f"{seed} {episode.trajectory_id} {len(state.messages)}"))

    return ScriptedPolicy(name, script)


def wander(state: State, generator: random.Random) -> Action:
    """A well-formed action on things that `state` shows."""
    observed = "\n".join(message.content for message in state.messages if message.role in ("tool", "user"))
    choices = [lambda: call_action("execute_bash", command=TEST_COMMAND)]
    names = sorted(set(NAME.findall(observed)) - NO_NAMES)
    definitions = sorted(set(DEFINITION.findall(observed)))
    if names:
        choices += 2 * [lambda: _search(generator.choice(names))]
    if definitions:
        choices += 2 * [lambda: _view(*generator.choice(definitions)[:2])]
        choices += [
            lambda: call_action("execute_bash", command=f"git checkout {generator.choice(definitions)[0]}")
        ]
    if viewed := _last_view(state):
        choices += 3 * [lambda: _edit(*viewed, generator)]
    if generator.random() < 0.03:
        return call_action("finish", message="done")
    return generator.choice(choices)()


def _search(name: str) -> Action:
    return call_action("execute_bash", command=f'grep -rn "def {name}" .')


def _view(path: str, line: str) -> Action:
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


def _edit(path: str, function: list[tuple[str, str]], generator: random.Random) -> Action:
    """Change one line of the body, or the defaults, in one of the ways in which lines are wrong."""
    parameters = re.findall(r"(\w+)(?:=\d+)?[,)]", function[0][1])
    number, line = generator.choice([function[0], *function[2:]] if "=" in function[0][1] else function[2:])
    try:
        changed = sorted(
            {text for _, text in mutate_line(line, parameters, is_signature=number == function[0][0])}
        )
    except SyntaxError:
        changed = []
    indentation = line[: len(line) - len(line.lstrip())]
    changed.append(indentation + "return " + line.strip() if "return" not in line else line)
    text = generator.choice(changed)
    return call_action("execute_bash", command=f"sed -i '{number}c\\{text}' {path}")
