"""The oracle: a privileged teacher that knows the gold patch and looks at the sandbox.

From any state, also one that the student wrecked, it names the next sensible step (reproduce, locate, view,
repair, re-test, restore, finish) and so reaches a resolved task. It asks of the student nothing that the student
could not know: after a change it tests before it judges, and it repairs only lines that the agent has seen.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from turnmix.core.message import Message
from turnmix.core.task import Solution, Task
from turnmix.core.trajectory import Action, State
from turnmix.environments.workspace import read_workspace
from turnmix.policies.policy import Episode, PolicySession
from turnmix.policies.repair import Hunk, plan_repair
from turnmix.policies.scripted import call_action

RUNNING = "is still running"
DIRECTORY = re.compile(r"\[Current working directory: (.*?)\]")


class OraclePolicy:
    """A teacher for every task whose solution is known. Costs nothing to ask."""

    name = "oracle"

    def __init__(self, solution: Callable[[Task], Solution]) -> None:
        self._solution = solution

    def begin(self, episode: Episode) -> PolicySession:
        return OracleSession(episode, self._solution(episode.task))

    async def close(self) -> None:
        return None


class OracleSession:
    """The oracle in one trajectory. `look` reads the workspace; `act` judges what it read and the history."""

    def __init__(self, episode: Episode, solution: Solution) -> None:
        self._sandbox = episode.environment.sandbox
        self._task = episode.task
        self._solution = solution
        self._files: dict[str, str] = {}
        self._reports: dict[int, str] = {}

    async def look(self) -> None:
        files = await read_workspace(self._sandbox, self._task.working_directory)
        self._files = {path: content.decode(errors="surrogateescape") for path, content in files.items()}

    async def act(self, state: State) -> Action:
        """The next step from `state`, whose workspace the last `look` read."""
        history = History.of(state.messages)
        digest = hash(tuple(sorted(self._files.items())))
        if self._solution.test_command in history.last_command:
            self._reports[digest] = history.last_observation
        return self._next_step(history, self._reports.get(digest))

    async def close(self) -> None:
        return None

    def _next_step(self, history: History, report: str | None) -> Action:
        if RUNNING in history.last_observation:
            key = "C-d" if history.last_command == "C-c" else "C-c"  # the end of input closes a deaf shell
            return call_action("execute_bash", command=key, is_input="true")
        if report is None:
            return self._bash(history, self._solution.test_command)
        plans = {path: self._plan(path) for path in sorted({*self._task.files, *self._solution.files})}
        damaged = [path for path, plan in plans.items() if plan is None]
        if damaged:
            return self._restore(damaged[0], history)
        strays = sorted(set(self._files) - set(plans))
        if strays:
            return self._bash(history, f"rm -f {' '.join(map(shlex.quote, strays[:8]))}")
        remaining = [(path, hunk) for path, plan in plans.items() for hunk in plan or ()]
        if not remaining:
            return call_action("finish", message="done")
        return self._repair(
            *min(remaining, key=lambda item: self._rank(*item, report=report)), history=history
        )

    def _plan(self, path: str) -> tuple[Hunk, ...] | None:
        if path not in self._files:
            return None
        base = self._task.files.get(path, "")
        return plan_repair(base, self._solution.files.get(path, base), self._files[path])

    def _rank(self, path: str, hunk: Hunk, *, report: str) -> int:
        """Where the test report first names the hunk's function; last when it does not."""
        position = report.find(f"test_{self._function(path, hunk)[0]}")
        return position if position >= 0 else len(report)

    def _function(self, path: str, hunk: Hunk) -> tuple[str, int]:
        """The function (or class) around a hunk, and the line of its definition, from 1."""
        lines = self._files[path].split("\n")
        for number in range(min(hunk.line, len(lines)), 0, -1):
            if match := re.match(r"\s*(?:async def|def|class)\s+(\w+)", lines[number - 1]):
                return match[1], number
        return "", max(1, hunk.line - 4)

    def _repair(self, path: str, hunk: Hunk, *, history: History) -> Action:
        name, start = self._function(path, hunk)
        lines = self._files[path].split("\n")
        shown = [
            f"{number:6}\t{lines[number - 1]}" for number in range(start, hunk.line + max(1, len(hunk.old)))
        ]
        if all(line in history.observations for line in shown):
            return self._edit(path, hunk, history)
        definition = f"{path}:{start}:{lines[start - 1]}"
        if definition in history.observations or not name:
            full_path = f"{self._task.working_directory}/{path}"
            return call_action("str_replace_editor", command="view", path=full_path, view_range=[start, -1])
        return self._bash(history, f'grep -rn "def {name}" .')

    def _edit(self, path: str, hunk: Hunk, history: History) -> Action:
        if len(hunk.old) == len(hunk.new) == 1 and "'" not in hunk.new[0] and "\\" not in hunk.new[0]:
            return self._bash(history, f"sed -i '{hunk.line}c\\{hunk.new[0]}' {shlex.quote(path)}")
        lines = self._files[path].split("\n")
        for margin in range(len(lines) + 1):
            first = max(0, hunk.line - 1 - margin)
            last = min(len(lines), hunk.line - 1 + len(hunk.old) + margin)
            old = "\n".join(lines[first:last])
            if old and self._files[path].count(old) == 1:
                break
        new = [*lines[first : hunk.line - 1], *hunk.new, *lines[hunk.line - 1 + len(hunk.old) : last]]
        full_path = f"{self._task.working_directory}/{path}"
        return call_action(
            "str_replace_editor", command="str_replace", path=full_path, old_str=old, new_str="\n".join(new)
        )

    def _restore(self, path: str, history: History) -> Action:
        """Back to the version under version control; where that has just failed, write the file anew."""
        checkout = f"git checkout {shlex.quote(path)}"
        if checkout not in history.last_command:
            return self._bash(history, checkout)
        gold = self._solution.files.get(path, self._task.files.get(path, ""))
        quoted = shlex.quote(path)
        return self._bash(history, f"rm -rf {quoted}; cat > {quoted} <<'END_OF_FILE'\n{gold}END_OF_FILE")

    def _bash(self, history: History, command: str) -> Action:
        directory = self._task.working_directory
        if history.directory not in (None, directory):
            command = f"cd {directory} && {command}"
        return call_action("execute_bash", command=command)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the agent has done and seen, as far as the next step depends on it."""

    last_command: str = ""
    last_observation: str = ""
    observations: str = field(default="", repr=False)
    directory: str | None = None
    """Of the shell; None before its first command."""

    @classmethod
    def of(cls, messages: tuple[Message, ...]) -> History:
        observed = [message.content for message in messages if message.role in ("tool", "user")]
        observations = "\n".join(observed)
        directories = DIRECTORY.findall(observations)
        arguments: Mapping[str, object] = {}
        for message in reversed(messages):
            if message.role == "assistant":
                arguments = message.tool_calls[-1].arguments if message.tool_calls else {}
                break
        return cls(
            last_command=str(arguments.get("command", "")),
            last_observation=observed[-1] if observed else "",
            observations=observations,
            directory=directories[-1] if directories else None,
        )
