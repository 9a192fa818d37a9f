"""The teacher's labels of one trajectory, asked for beside it (paper Eq. 10).

In: the visited states, one `ask` a student turn. Out: at the end of the trajectory, the turns with their
labels. The trajectory waits for the teacher's look (the environment rests meanwhile), never for its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from turnmix.core.trajectory import Action, State, Turn
from turnmix.policies.policy import PolicySession

LabelGate = Callable[[State], bool]
"""A state in which the student acts -> whether the teacher is asked what it would do there."""


class Labels:
    """Labels of one trajectory, in flight or answered."""

    def __init__(
        self,
        teacher: PolicySession,
        *,
        gate: bool | LabelGate = True,
        clock: Callable[[], float],
        on_label: Callable[[int, Action, float], None] | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        """`gate`: in which states it is asked; true: in all. `on_label` is told at once of a label, its turn and its
        seconds; `on_failure`, what one failed with."""
        self._teacher = teacher
        self._gate = gate
        self._clock = clock
        self._on_label = on_label
        self._on_failure = on_failure
        self._asked: dict[int, asyncio.Task[tuple[Action, float]]] = {}
        self._has_looked = asyncio.Event()
        self._has_looked.set()
        self._failure: BaseException | None = None

    def ask(self, turn: int, state: State) -> bool:
        """Ask for the label of `turn`, where the gate lets it through; returns at once, and whether it is asked for."""
        if not isinstance(self._gate, bool) and not self._gate(state):
            return False
        self.ask_again(turn, state)
        return True

    def ask_again(self, turn: int, state: State) -> None:
        """Ask for the label of `turn`, which the gate let through before."""
        self._has_looked = asyncio.Event()
        task = asyncio.create_task(self._answer(state, self._has_looked))
        task.add_done_callback(lambda task: self._note_end(turn, task))
        self._asked[turn] = task

    def withdraw(self, turn: int) -> None:
        """`turn` is not taken in the state in which its label was asked for."""
        if (task := self._asked.pop(turn, None)) is not None:
            task.cancel()

    async def looked(self) -> None:
        """Wait until the environment may move on. Raises what any label so far has failed with."""
        await self._has_looked.wait()
        if self._failure is not None:
            raise self._failure

    async def attach(self, turns: Sequence[Turn]) -> list[Turn]:
        """The turns with the labels asked for; waits for those in flight. Raises what a label failed with."""
        labelled = list(turns)
        for index, task in self._asked.items():
            if index >= len(labelled):  # its action never came
                continue
            label, seconds = await task
            turn = labelled[index]
            labelled[index] = replace(turn, label=label, seconds={**turn.seconds, "label": seconds})
        return labelled

    async def close(self) -> None:
        """Give up what is still in flight."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _answer(self, state: State, has_looked: asyncio.Event) -> tuple[Action, float]:
        started = self._clock()
        try:
            await self._teacher.look()
        finally:
            has_looked.set()
        # No await between look and act: the session still holds this state's look when `act` begins.
        action = await self._teacher.act(state)
        return action, self._clock() - started

    def _note_end(self, turn: int, task: asyncio.Task[tuple[Action, float]]) -> None:
        if task.cancelled():
            return
        if (failure := task.exception()) is None:
            if self._on_label is not None:
                self._on_label(turn, *task.result())
            return
        self._failure = self._failure or failure
        if self._on_failure is not None:
            self._on_failure(failure)
