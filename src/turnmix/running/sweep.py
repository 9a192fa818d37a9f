"""A sweep: all runs of a comparison, trained and analysed, several at a time.

In: a comparison, and the directory that it goes to. Out: that directory, filled: of each arm and seed a run of its own.
Each step is a `turnmix` command in a process of its own. Stopped or killed at any moment, the same call goes on.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from turnmix.cluster.room import ClusterRoom
from turnmix.core.errors import TurnMixError, UserError
from turnmix.core.printable import printable_line
from turnmix.running.child_commands import ChildCommand, stop_all
from turnmix.running.comparison_file import GivenComparison
from turnmix.running.continuation import told_how_to_go_on
from turnmix.running.reporter import Reporter
from turnmix.running.sweep_analysis import analyse_words, is_analysed
from turnmix.running.sweep_arms import PlannedRun, is_complete, planned_runs
from turnmix.running.sweep_record import record_of
from turnmix.running.sweep_sharing import Sharing
from turnmix.store.sweep_directory import SweepDirectory, has_begun
from turnmix.viewing.report import duration_text

POLL_SECONDS = 0.1
LAST_BYTES = 4096
"""Of a log in which the reason of a failure is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """One run of a sweep."""

    arm: str
    seed: int
    path: Path
    failure: str | None = None
    """Why it failed in this call; None: it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep that has ended."""

    path: Path
    runs: list[SweepRun]


@dataclass(slots=True, kw_only=True)
class _Under:
    """A run under way, and the step that it is at."""

    run: PlannedRun
    step: str
    child: ChildCommand


@dataclass(slots=True, kw_only=True)
class _State:
    waiting: deque[tuple[PlannedRun, str]]
    under_way: list[_Under] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    num_done: int = 0


def run_sweep(given: GivenComparison, *, output: Path, jobs: int, again: str, reporter: Reporter) -> Sweep:
    """Train and analyse each run of the comparison, `jobs` at a time. `again`: the command that goes on.

    Runs on a cluster begin as it has room for them.

    Raises:
        UserError: the comparison cannot be run, or `output` holds something else; nothing was begun.
        TurnMixError: runs failed; the others are complete.
    """
    if jobs < 1:
        raise UserError(f"jobs: {jobs}: run 1 at a time, or more")
    has_begun(output, digest=given.digest)
    runs = planned_runs(given, say=reporter.note)
    with (
        closing(SweepDirectory.open(output, given.text, record_of(given))) as directory,
        told_how_to_go_on(f"go on with: {again}"),
    ):
        failures = _Runner(given, runs, directory=directory, jobs=jobs, reporter=reporter).run()
        if failures:
            raise TurnMixError(
                f"{len(failures)} of {len(runs)} runs failed",
                *(f"  {name}: {why}" for name, why in failures.items()),
            )
    return Sweep(
        path=output, runs=[SweepRun(arm=run.arm, seed=run.seed, path=output / run.name) for run in runs]
    )


class _Runner:
    def __init__(
        self,
        given: GivenComparison,
        runs: Sequence[PlannedRun],
        *,
        directory: SweepDirectory,
        jobs: int,
        reporter: Reporter,
    ) -> None:
        self._analysis = given.comparison.analysis
        self._runs = runs
        self._directory = directory
        self._jobs = jobs
        self._reporter = reporter
        self._sharing = Sharing(runs, directory=directory.path)
        self._told_to_wait: set[str] = set()
        self._width = max(len(run.name) for run in runs)
        self._began = time.monotonic()
        self._state = _State(waiting=deque((run, self._first_step(run)) for run in runs))
        # Of what is trained nobody asks a cluster, which may be gone.
        self._room = ClusterRoom([run.recipe for run, step in self._state.waiting if step == "train"])

    def run(self) -> dict[str, str]:
        """Names of runs that failed, and why."""
        state = self._state
        num_trained = sum(step == "analyse" for _, step in state.waiting)
        self._reporter.say(
            f"{len(self._runs)} runs below {self._directory.path}, {self._jobs} at a time; {num_trained} are trained"
        )
        try:
            while state.waiting or state.under_way:
                while len(state.under_way) < self._jobs and (chosen := self._next()) is not None:
                    self._begin(*chosen)
                self._look()
                time.sleep(POLL_SECONDS)
        finally:
            stop_all(each.child for each in state.under_way)
        return state.failures

    def _first_step(self, run: PlannedRun) -> str:
        return "analyse" if is_complete(self._directory.path / run.name) else "train"

    def _next(self) -> tuple[PlannedRun, str] | None:
        """The first that need not wait for what another run is making; else the first. None: it waits for room."""
        waiting = self._state.waiting
        if not waiting:
            return None
        training = {each.run.name for each in self._state.under_way if each.step == "train"}
        chosen = next(
            (
                index
                for index, (run, step) in enumerate(waiting)
                if step != "train" or not self._sharing.is_worth_waiting(run, training)
            ),
            0,
        )
        run, step = waiting[chosen]
        if step == "train" and not self._has_room(run):
            return None
        del waiting[chosen]
        return run, step

    def _has_room(self, run: PlannedRun) -> bool:
        beside = [each.run.recipe for each in self._state.under_way if each.step == "train"]
        lacking = self._room.lacking(run.recipe, beside=beside)
        if lacking is not None and run.name not in self._told_to_wait:
            self._told_to_wait.add(run.name)
            self._tell(run, f"waits for room in the cluster: {lacking}")
        return lacking is None

    def _begin(self, run: PlannedRun, step: str) -> None:
        path = self._directory.path / run.name
        if step == "train":
            if (taken := self._sharing.take(run)) is not None:
                self._tell(run, taken)
            words = ["train", run.recipe_name, *run.overrides, "--run", str(path)]
        elif self._analysis is None or is_analysed(path, self._analysis, iterations=run.recipe.iterations):
            self._end(run, "complete already")
            return
        else:
            words = analyse_words(path, self._analysis)
        log = self._directory.open_log(run.name)
        try:
            child = ChildCommand(words, output=log)
        finally:
            os.close(log)
        self._state.under_way.append(_Under(run=run, step=step, child=child))
        self._tell(run, "is being trained" if step == "train" else "is being analysed")

    def _look(self) -> None:
        for each in list(self._state.under_way):
            if (status := each.child.status()) is None:
                continue
            each.child.close()
            self._state.under_way.remove(each)
            took = duration_text(time.monotonic() - each.child.started)
            if status != 0:
                log = self._directory.log(each.run.name)
                self._state.failures[each.run.name] = f"{_reason(log, status)} (log: {log})"
                self._tell(each.run, f"failed to {each.step}: {log}")
            elif each.step == "train" and self._analysis is not None:
                self._tell(each.run, f"trained in {took}")
                # Next, so that what is trained can be compared early.
                self._state.waiting.appendleft((each.run, "analyse"))
            else:
                self._end(each.run, f"{'trained' if each.step == 'train' else 'analysed'} in {took}")

    def _end(self, run: PlannedRun, told: str) -> None:
        self._state.num_done += 1
        self._tell(run, f"{told}; {self._state.num_done} of {len(self._runs)} complete")

    def _tell(self, run: PlannedRun, text: str) -> None:
        self._reporter.say(f"{run.name:<{self._width}}  {text}")


def _reason(log: Path, status: int) -> str:
    """What a failed command said last."""
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - LAST_BYTES, 0))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line for line in lines if line.strip()]
    told = next((line for line in reversed(said) if line.startswith("turnmix: ")), said[-1] if said else "")
    how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
    return f"{how}: {printable_line(told.removeprefix('turnmix: '))}" if told else how
