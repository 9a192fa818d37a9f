"""The oracle: a privileged teacher that knows the gold patch and looks at the sandbox.

From any state, also one that the student wrecked, it names the next sensible step (reproduce, locate, view,
repair, re-test, restore, finish) and so reaches a resolved task. It asks of the student nothing that the student
could not know: after a change it tests before it judges, and it repairs only lines that the agent has seen.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State
from turnmix.environments.oracle.history import History
from turnmix.environments.oracle.repair import Hunk, merge_hunks, plan_repair
from turnmix.environments.oracle.solution import Solution
from turnmix.environments.workspace import WORKSPACE_LIMIT, read_workspace, workspace_of
from turnmix.policies.policy import Episode, PolicySession
from turnmix.policies.scripted import call_action
from turnmix.sandboxes.sandbox import Sandbox, SandboxEnded

RUNNING = "is still running"
DEFINITION = re.compile(r"\s*(?:async )?(def|class)\s+(\w+)")
HUNK_GAP = 3
"""Untouched lines between two changes that are still made by one edit."""
HUNKS_IN_A_ROW = 3
"""While more than this many edits are left, they are made from the top of each file down, without a search."""
LONGEST_VIEW = 60
"""Lines from a definition to the change, above which the lines around the change alone are viewed."""
LONGEST_TYPED = 50_000
"""Characters of a file that is still written by a shell command."""
SOLVERS = 4
"""Solutions read at one moment: that of a task with an image takes a container of its own."""


class OraclePolicy:
    """A teacher for every task whose solution is known. Costs nothing to ask."""

    name = "oracle"

    def __init__(self, solution: Callable[[Task], Solution]) -> None:
        """`solution` may block: it is called in a thread, once a trajectory, at the first look."""
        self._solution = solution
        self._threads = ThreadPoolExecutor(SOLVERS, "turnmix-oracle")

    def begin(self, episode: Episode) -> PolicySession:
        return OracleSession(episode, lambda: self._solve(episode.task))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _solve(self, task: Task) -> Solution:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._solution, task)


class OracleSession:
    """The oracle in one trajectory. `look` reads the workspace; `act` judges what it read and the history."""

    _solution: Solution
    """Known, with what follows from it, from the first look on."""
    _base: Mapping[str, str]
    _paths: list[str]

    def __init__(self, episode: Episode, solve: Callable[[], Awaitable[Solution]]) -> None:
        self._sandbox: Sandbox = episode.privileged_view()
        self._workspace = workspace_of(episode.task)
        self._solve = solve
        self._limit: int | None = None
        """Bytes of the workspace that are read; None before the first look."""
        self._files: dict[str, str] = {}
        self._reports: dict[int, str] = {}

    async def look(self) -> None:
        """Raises InfrastructureError: the solution, or the workspace, could not be read."""
        if self._limit is None:
            self._solution = solution = await self._solve()
            self._base = {**self._workspace.files, **solution.base}
            self._paths = sorted({*self._base, *solution.files} - set(solution.removed))
            self._limit = WORKSPACE_LIMIT + 4 * sum(map(len, self._base.values()))
        try:
            files = await read_workspace(
                self._sandbox,
                self._workspace.working_directory,
                limit=self._limit,
                first=sorted({*self._solution.files, *self._solution.removed}),
            )
        except SandboxEnded:  # by what the agent left running: its next step ends the trajectory
            files = {}
        self._files = {path: content.decode(errors="surrogateescape") for path, content in files.items()}

    async def act(self, state: State) -> Action:
        """The next step from `state`, whose workspace the last `look` read."""
        history = History.of(state)
        digest = hash(tuple(sorted(self._files.items())))
        if self._solution.test_command in history.last_command:
            self._reports[digest] = history.last_observation
        return history.tools.say(self._next_step(history, self._reports.get(digest)))

    async def close(self) -> None:
        return None

    def _next_step(self, history: History, report: str | None) -> Action:
        if history.tools.takes_input and RUNNING in history.last_observation:
            key = "C-d" if history.last_command == "C-c" else "C-c"  # the end of input closes a deaf shell
            return call_action("execute_bash", command=key, is_input="true")
        plans = {path: self._plan(path) for path in self._paths}
        damaged = [path for path, plan in plans.items() if plan is None]
        remaining = [(path, hunk) for path, plan in plans.items() for hunk in plan or ()]
        strays = sorted(filter(_is_visible, set(self._files) - set(plans) - self._solution.present))
        # Where tests take long they are run to see the failure, and when all seems done; else at every change.
        has_work = bool(damaged or strays or remaining)
        is_spared = self._solution.test_timeout is not None and has_work and bool(self._reports)
        if report is None and not is_spared:
            return self._bash(history, self._solution.test_command, timeout=self._solution.test_timeout)
        if damaged:
            return self._restore(damaged[0], history)
        if strays:
            return self._bash(history, f"rm -f {' '.join(map(shlex.quote, strays[:8]))}")
        if not remaining:
            return call_action("finish", message="done")
        if len(remaining) > HUNKS_IN_A_ROW:
            return self._repair_one_of_many(*remaining[0], history=history)
        return self._repair(
            *min(remaining, key=lambda item: self._rank(*item, report=report or "")), history=history
        )

    def _plan(self, path: str) -> tuple[Hunk, ...] | None:
        current = self._files.get(path)
        if current is None:
            return None
        gold = self._solution.files.get(path)
        base = self._base.get(path, "")
        if gold is None or current == gold:
            return () if current == (base if gold is None else gold) else None
        hunks = plan_repair(base, gold, current) if path in self._base else None
        return None if hunks is None else merge_hunks(hunks, current, gap=HUNK_GAP)

    def _rank(self, path: str, hunk: Hunk, *, report: str) -> int:
        """Where the test report first names the hunk's function; last when it does not."""
        position = report.find(f"test_{self._definition(path, hunk)[1]}")
        return position if position >= 0 else len(report)

    def _definition(self, path: str, hunk: Hunk) -> tuple[str, str, int]:
        """What is defined around a hunk: `def` or `class`, its name, and its line, from 1."""
        lines = self._files[path].split("\n")
        for number in range(min(hunk.line, len(lines)), max(0, hunk.line - LONGEST_VIEW), -1):
            if match := DEFINITION.match(lines[number - 1]):
                return match[1], match[2], number
        return "", "", max(1, hunk.line - 4)

    def _repair(self, path: str, hunk: Hunk, *, history: History) -> Action:
        keyword, name, start = self._definition(path, hunk)
        lines = self._files[path].split("\n")
        last = min(len(lines), hunk.line + max(1, len(hunk.old)) - 1)
        shown = [f"{number:6}\t{lines[number - 1]}".rstrip("\r") for number in range(start, last + 1)]
        end = -1 if len(lines) <= 3 * LONGEST_VIEW else min(len(lines), last + 10)
        view = call_action(
            "str_replace_editor",
            command="view",
            path=f"{self._workspace.working_directory}/{path}",
            view_range=[start, end],
        )
        # What was just shown cannot be shown better, as when the file holds what no terminal shows.
        if all(line in history.observations for line in shown) or history.has_just_done(view):
            return self._edit(path, hunk, history)
        definition = f"{path}:{start}:{lines[start - 1]}"
        search = self._bash(history, f'grep -rn "{keyword} {name}" .')
        is_common = name.startswith("__") or history.has_just_done(search)
        return view if definition in history.observations or not name or is_common else search

    def _repair_one_of_many(self, path: str, hunk: Hunk, *, history: History) -> Action:
        """In the order of the file: one view serves several edits, which by and by move its line numbers."""
        lines = self._files[path].split("\n")
        last = hunk.line - 1 + max(1, len(hunk.old))
        view = call_action(
            "str_replace_editor",
            command="view",
            path=f"{self._workspace.working_directory}/{path}",
            view_range=[max(1, hunk.line - 4), -1],
        )
        shown = [f"\t{line}\n".replace("\r", "") for line in lines[hunk.line - 1 : last]]
        if all(line in history.observations + "\n" for line in shown) or history.has_just_done(view):
            return self._replace(path, hunk, history)
        return view

    def _edit(self, path: str, hunk: Hunk, history: History) -> Action:
        if len(hunk.old) == len(hunk.new) == 1 and hunk.new[0] and not set(hunk.new[0]) & set("'\\\r"):
            return self._bash(history, f"sed -i '{hunk.line}c\\{hunk.new[0]}' {shlex.quote(path)}")
        return self._replace(path, hunk, history)

    def _replace(self, path: str, hunk: Hunk, history: History) -> Action:
        if not self._files[path]:
            return self._write(path, history)
        lines = self._files[path].split("\n")
        # Lines that are only removed take their line end along with a neighbour's.
        for margin in range(0 if hunk.new else 1, len(lines) + 1):
            first = max(0, hunk.line - 1 - margin)
            last = min(len(lines), hunk.line - 1 + len(hunk.old) + margin)
            old = "\n".join(lines[first:last])
            if old and self._files[path].count(old) == 1:
                break
        new = [*lines[first : hunk.line - 1], *hunk.new, *lines[hunk.line - 1 + len(hunk.old) : last]]
        full_path = f"{self._workspace.working_directory}/{path}"
        return call_action(
            "str_replace_editor", command="str_replace", path=full_path, old_str=old, new_str="\n".join(new)
        )

    def _restore(self, path: str, history: History) -> Action:
        """Back to the version under version control; where that has just failed, write the file anew."""
        checkout = f"git checkout {shlex.quote(path)}"
        if path in self._base and checkout not in history.last_command:
            return self._bash(history, checkout)
        return self._write(path, history)

    def _write(self, path: str, history: History) -> Action:
        """The whole file as it should be."""
        gold = self._solution.files.get(path, self._base.get(path, ""))
        quoted = shlex.quote(path)
        if path in self._base and len(gold) < LONGEST_TYPED and gold.endswith("\n"):
            return self._bash(history, f"rm -rf {quoted}; cat > {quoted} <<'END_OF_FILE'\n{gold}END_OF_FILE")
        create = call_action(
            "str_replace_editor",
            command="create",
            path=f"{self._workspace.working_directory}/{path}",
            file_text=gold,
        )
        return (
            self._bash(history, f"rm -rf {quoted}")
            if path in self._files or history.has_just_done(create)
            else create
        )

    def _bash(self, history: History, command: str, *, timeout: float | None = None) -> Action:
        directory = self._workspace.working_directory
        if history.directory not in (None, directory):
            command = f"cd {directory} && {command}"
        arguments = {"command": command} if timeout is None else {"command": command, "timeout": timeout}
        return call_action("execute_bash", **arguments)


def _is_visible(path: str) -> bool:
    """Whether a file that does not belong there is in the way, and not what some tool keeps for itself."""
    return not any(part.startswith(".") or part.endswith(".egg-info") for part in path.split("/"))
