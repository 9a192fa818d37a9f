"""The lines of one session: which of them takes a turn, and what they hold meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Action, Actor, State
from turnmix.core.usage import Usage
from turnmix.gateway.session.graph import Node
from turnmix.gateway.session.line import Line, ResumableStudent, SessionTurn
from turnmix.gateway.session.session_parts import SessionParts
from turnmix.policies.policy import Episode
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.turn_recorder import TurnRecorder

_MOST_HELD = 4
"""Lines beside the first whose students keep what they read while they rest."""


class Lines:
    """Those of one session."""

    def __init__(
        self,
        plan: RolloutPlan,
        parts: SessionParts,
        *,
        root: Node[SessionTurn],
        on_label: Callable[[SessionTurn, Action, float], None],
        on_failed_label: Callable[[BaseException], None],
    ) -> None:
        """The first line is what a rollout of the plan would be."""
        self._plan = plan
        self._parts = parts
        self._on_label = on_label
        self._on_failed_label = on_failed_label
        self._lines: list[Line] = []
        self._resting: dict[Node[SessionTurn], list[Line]] = defaultdict(list)
        """By the history that they stand at: behind their last action, or where one failed."""
        self._held: list[Line] = []
        """Lines that took the last turns, the latest last."""
        self._asks_label: dict[bytes, SessionTurn] = {}
        """By state: the turn with which its label is asked for."""
        first = Episode(trajectory_id=plan.trajectory_id, task=plan.task, seed=plan.seed, cohort=plan.cohort)
        self._root = root
        self._resting[root].append(self._begin(first))

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def usage(self) -> dict[str, Usage]:
        """Of all of them."""
        total: dict[str, Usage] = {}
        for line in self._lines:
            for who, used in line.recorder.usage.items():
                total[who] = total.get(who, Usage()) + used
        return total

    def join_cohort(self) -> None:
        """Begin the student's session of the first line, before another one of its cohort acts. Where there are
        further lines, it has left its cohort."""
        if len(self._lines) == 1:
            self._lines[0].student.join_cohort()

    def taking(self, turn: SessionTurn, *, begun_by: bytes) -> Line:
        """The line that takes `turn`: one that stands where its history goes on from, or a new one, whose draws are
        seeded by `begun_by`."""
        known = next((node for node in turn.node.path() if node.answer is not None), self._root)
        line = self._woken(turn.node, turn) or self._woken(known, turn)
        if line is not None and known.answer is not None and known.answer.led_to is None:
            known.answer.led_to = turn.node
            line.recorder.observe(turn.node.messages[known.depth :])
        if line is None:
            line = self._begin(
                Episode(
                    trajectory_id=f"{self._plan.trajectory_id}-line-{len(self._lines)}",
                    task=self._plan.task,
                    seed=derive_seed(self._plan.seed, "line", begun_by.hex()),
                )
            )
        line.turn = line.last = turn
        turn.is_begun = True
        return line

    def rest(self, line: Line, node: Node[SessionTurn] | None) -> None:
        """`line` stands at `node` from now on; None: nothing can go on from it."""
        line.turn = None
        if node is not None:
            self._resting[node].append(line)

    def _woken(self, node: Node[SessionTurn], turn: SessionTurn) -> Line | None:
        """A line that stands at `node`, and no more: that which failed at `turn`, if one did."""
        lines = self._resting.get(node)
        if not lines:
            return None
        line = next((line for line in lines if line.last is turn), lines[-1])
        lines.remove(line)
        if not lines:
            del self._resting[node]
        return line

    async def make_room(self, line: Line) -> None:
        """Before `line` takes a turn: where it is not the first, the first leaves its cohort, which would wait for it
        as long as it rests; and of the others few keep what their students hold."""
        if line.number == 0:
            return
        first = self._lines[0]
        if first.turn is None:
            await first.student.close()
        self._held = [held for held in self._held if held is not line] + [line]
        while len(self._held) > _MOST_HELD and self._held[0].turn is None:
            await self._held.pop(0).student.close()

    def observe_ends(self, turns: list[SessionTurn]) -> None:
        """No turn follows: what came last led to nothing."""
        for turn in turns:
            if turn.led_to is None and turn.line is not None:
                turn.line.recorder.observe(())

    async def dismiss_students(self) -> None:
        for line in self._lines:
            await line.recorder.dismiss_student()

    async def attach_labels(self) -> None:
        """Wait for them. Raises what one failed with."""
        await asyncio.gather(*(line.recorder.attach_labels() for line in self._lines))

    async def close(self) -> None:
        for line in self._lines:
            await line.recorder.close()

    def _begin(self, episode: Episode) -> Line:
        parts = self._parts
        student = ResumableStudent(parts.student, episode)
        seeing = replace(episode, inspectable=parts.inspectable)

        def taken() -> SessionTurn:
            assert line.turn is not None
            return line.turn

        def actor(_: int, state: State) -> Actor:
            turn = taken()
            actor = self.actor(turn, state)
            if actor == "teacher":
                self.claim_label(turn)
            return actor

        def note_label(index: int, label: Action, seconds: float) -> None:
            turn = line.taken[index] if index < len(line.taken) else line.last
            if turn is not None:
                self._on_label(turn, label, seconds)

        recorder = TurnRecorder(
            student=student,
            teacher=None if parts.teacher is None else parts.teacher.begin(seeing),
            actors=actor,
            label=(lambda state: self._wants_label(taken(), state)) if parts.label else False,
            takes_over=parts.takes_over,
            clock=parts.clock,
            on_label=note_label,
            on_failed_label=self._on_failed_label,
        )
        line = Line(number=len(self._lines), student=student, recorder=recorder)
        self._lines.append(line)
        return line

    def actor(self, turn: SessionTurn, state: State) -> Actor:
        """Who takes `turn`: drawn once."""
        if turn.actor is None:
            turn.actor = self._parts.actors(turn.number, state)
        return turn.actor

    def claim_label(self, turn: SessionTurn) -> bool:
        """A label is of a state: it is asked for with the first turn that is taken there. Is that `turn`?"""
        first = self._asks_label.setdefault(turn.place, turn)
        if first is not turn and not first.is_begun:
            first = self._asks_label[turn.place] = turn
        return first is turn

    def _wants_label(self, turn: SessionTurn, state: State) -> bool:
        label = self._parts.label
        return self.claim_label(turn) and (label if isinstance(label, bool) else label(state))
