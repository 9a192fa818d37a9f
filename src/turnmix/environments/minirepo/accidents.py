"""What can go wrong in a minirepo: one edit of the module that was looked at last, as by a slip.

    breaking   the first line of a function's body is written over its signature: no Python can read the file, so
               nothing can be imported, and every test fails until the file is restored
    harmless   one line of the function becomes wrong: the file can still be read, and only this function's tests fail

In: the state, and the sandbox. Out: the edit; or nothing, where no module was looked at, or what the agent made of it
is neither the broken nor the repaired version, so that nobody could tell what the edit does.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from turnmix.core.message import Message
from turnmix.core.seed import derive_seed
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.environments.minirepo.injectors import mutate_line
from turnmix.environments.oracle.history import History
from turnmix.environments.oracle.policy import RUNNING
from turnmix.environments.oracle.repair import plan_repair
from turnmix.environments.oracle.solution import Solution
from turnmix.environments.workspace import read_workspace, workspace_of
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import call_action
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded

Kind = Literal["breaking", "harmless"]
ACCIDENTS: tuple[Kind, ...] = get_args(Kind)
NOT_MODULES = ("run_tests.py", "test_repo.py")
_SHOWN = re.compile(r"^ *(\d{1,6})\t", re.MULTILINE)
_UNTYPABLE = set("'\\")
"""What a line inside single quotes of a shell must not hold."""


class MinirepoAccident:
    """One kind of slip."""

    def __init__(self, kind: str, solution: Callable[[Task], Solution]) -> None:
        """`kind`: one of ACCIDENTS."""
        self.name = f"{kind} accident"
        self._is_breaking = kind == "breaking"
        self._solution = solution

    def begin(self, episode: Episode) -> MinirepoAccidentSession:
        return MinirepoAccidentSession(
            episode, self._solution(episode.task), is_breaking=self._is_breaking, name=self.name
        )


class MinirepoAccidentSession:
    """A slip in one trajectory. `look` reads the workspace."""

    def __init__(self, episode: Episode, solution: Solution, *, is_breaking: bool, name: str) -> None:
        self._sandbox: Sandbox = episode.privileged_view()
        self._workspace = workspace_of(episode.task)
        self._gold = solution.files
        self._is_breaking = is_breaking
        self._seed = derive_seed(episode.seed, name)
        self._files: dict[str, bytes] = {}

    async def look(self) -> None:
        try:
            self._files = await read_workspace(self._sandbox, self._workspace.working_directory)
        except SandboxEnded:  # by what the agent left running: the next step ends the trajectory
            self._files = {}

    async def act(self, state: State) -> Action | None:
        history = History.of(state)
        has_shell = any(tool.name == "execute_bash" for tool in state.tools)
        is_there = history.directory in (None, self._workspace.working_directory)
        if not has_shell or not is_there or RUNNING in history.last_observation:
            return None
        path, shown = _last_view(state.messages, self._workspace.working_directory)
        lines = self._intact_lines(path)
        number = next((each for each in shown if _is_signature(lines, each)), None)
        if number is None:
            return None
        end = next((at for at in range(number, len(lines)) if not lines[at]), len(lines))
        function = lines[number - 1 : end]
        edit = self._breaking(function) if self._is_breaking else self._harmless(path, number, function)
        if edit is None:
            return None
        place, text = edit
        return call_action("execute_bash", command=f"sed -i '{number + place}c\\{text}' {path}")

    async def close(self) -> None:
        """Nothing is held."""

    def _intact_lines(self, path: str) -> Sequence[str]:
        """The lines of a module that is as broken or as repaired as the task knows it; else none."""
        base, current = self._workspace.files.get(path), self._files.get(path)
        if base is None or current is None or path in NOT_MODULES or not path.endswith(".py"):
            return ()
        text = current.decode(errors="surrogateescape")
        gold = self._gold.get(path, base)
        is_intact = text in (base, gold) or plan_repair(base, gold, text) is not None
        return text.split("\n") if is_intact else ()

    def _breaking(self, function: Sequence[str]) -> tuple[int, str] | None:
        # The signature and the docstring come first. At no depth of its own, `return` is outside a function.
        return (0, function[2].strip()) if len(function) > 2 else None

    def _harmless(self, path: str, number: int, function: Sequence[str]) -> tuple[int, str] | None:
        right = {*self._gold.get(path, "").split("\n"), *self._workspace.files[path].split("\n")}
        parameters = re.findall(r"(\w+)(?:=\d+)?[,)]", function[0])
        edits = sorted(
            {
                (place, text)
                for place, line in enumerate(function)
                if place != 1  # the docstring
                for _, text in mutate_line(line, parameters, is_signature=place == 0)
                if text not in right
                and not set(text) & _UNTYPABLE
                and _can_be_read([*function[:place], text, *function[place + 1 :]])
            }
        )
        return random.Random(self._seed).choice(edits) if edits else None


def _last_view(messages: Sequence[Message], directory: str) -> tuple[str, list[int]]:
    """The file that was viewed last, relative to `directory`, and the numbers of the lines shown; or an empty name."""
    observed: list[str] = []
    for message in reversed(messages):
        if message.role != "assistant":
            observed.append(message.content)
            continue
        for call in message.tool_calls:
            if call.name == "str_replace_editor" and call.arguments.get("command") == "view":
                shown = [int(number) for text in observed for number in _SHOWN.findall(text)]
                return str(call.arguments.get("path", "")).removeprefix(f"{directory}/"), shown
        observed = []
    return "", []


def _is_signature(lines: Sequence[str], number: int) -> bool:
    return 1 <= number <= len(lines) and lines[number - 1].startswith("def ")


def _can_be_read(function: Sequence[str]) -> bool:
    try:
        ast.parse("\n".join(function))
    except SyntaxError:
        return False
    return True
