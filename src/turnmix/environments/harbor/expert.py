"""The expert of Harbor tasks: it does what Harbor's own oracle does, by the agent's own tools.

It types the files of `solution/` to where Harbor lays them and runs `solve.sh` there, as one command: a script may set
options of its shell, leave it, or read its own input, so that its lines, one after the other in the agent's shell,
would do something else. Each step is done once, whoever did it; then it finishes.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Mapping, Sequence

from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.environments.oracle.history import History
from turnmix.environments.oracle.policy import LONGEST_TYPED, RUNNING
from turnmix.environments.tar_members import Member
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action, text_action

SOLUTION = "/solution"
SCRIPT = "solve.sh"
PIECE = 45_000
"""Bytes of a file that are typed at once, as base64."""


def harbor_expert(steps: Callable[[Task], Sequence[Action]]) -> ScriptedPolicy:
    """Takes the steps of a task, which is empty where nobody knows its solution, one after the other."""

    def act(episode: Episode, state: State) -> Action:
        history = History.of(state)
        taken = steps(episode.task)
        if RUNNING in history.last_observation and history.tools.takes_input:
            waited = taken[-1].message.tool_calls[0].arguments if taken else {}
            return history.tools.say(
                call_action("execute_bash", command="", timeout=waited.get("timeout", 60.0))
            )
        done = [dict(call.arguments) for message in state.messages for call in message.tool_calls or ()]
        for step in taken:
            said = history.tools.say(step)
            if not said.message.tool_calls or dict(said.message.tool_calls[0].arguments) not in done:
                return said
        if not taken:
            return text_action("I do not know how to solve this.")
        return history.tools.say(call_action("finish", message="done"))

    return ScriptedPolicy("harbor-oracle", act)


def solution_steps(
    solution: Sequence[Member], variables: Mapping[str, str], *, seconds: float
) -> list[Action]:
    """In: what lies in `solution/`, variables of its script, and the time that it may take. Out: what is to be done."""
    files = [each for each in solution if each.kind == "file"]
    script = next((each for each in files if each.path == SCRIPT), None)
    if script is None:
        return []
    # What is done last belongs to the script; a longer one is typed before.
    is_typed_with_run = _is_plain(script)
    steps = [step for each in files if each is not script or not is_typed_with_run for step in _typed(each)]
    links = [
        f"ln -s {shlex.quote(each.target)} {shlex.quote(f'{SOLUTION}/{each.path}')}"
        for each in solution
        if each.kind == "symbolic link"
    ]
    settings = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    path = f"{SOLUTION}/{SCRIPT}"
    run = [
        *links,
        f"chmod +x {shlex.join(f'{SOLUTION}/{each.path}' for each in files if each.is_executable or each is script)}",
        " ".join(["DEBIAN_FRONTEND=noninteractive", *settings, path]),
    ]
    lines = [*(_written(path, script.content.decode()) if is_typed_with_run else ()), " && ".join(run)]
    return [*steps, call_action("execute_bash", command="\n".join(lines), timeout=seconds)]


def _is_plain(file: Member) -> bool:
    """Can it be typed as text?"""
    try:
        text = file.content.decode()
    except UnicodeDecodeError:
        return False
    is_printed = all(letter.isprintable() or letter in "\n\t" for letter in text)
    return is_printed and text.endswith("\n") and len(text) < LONGEST_TYPED


def _written(path: str, text: str) -> list[str]:
    end = "END_OF_FILE"
    while end in text:
        end += "_"
    return [
        f"mkdir -p {shlex.quote(path.rpartition('/')[0])}",
        f"cat > {shlex.quote(path)} <<'{end}'",
        f"{text}{end}",
    ]


def _typed(file: Member) -> list[Action]:
    path = f"{SOLUTION}/{file.path}"
    if _is_plain(file):
        return [call_action("execute_bash", command="\n".join(_written(path, file.content.decode())))]
    pieces = [file.content[start : start + PIECE] for start in range(0, len(file.content), PIECE)] or [b""]
    folder = shlex.quote(path.rpartition("/")[0])
    return [
        call_action(
            "execute_bash",
            command=f"mkdir -p {folder} && base64 -d {'>>' if number else '>'} {shlex.quote(path)} <<'END_OF_FILE'\n"
            f"{base64.encodebytes(piece).decode()}END_OF_FILE",
        )
        for number, piece in enumerate(pieces)
    ]
