"""The turns of one trajectory, whoever drives it: who acts, the action, the label beside it, what followed.

    action = await recorder.act(state)       # the mixture says who acts; the label is asked for beside
    recorder.observe(observation)            # what the action led to completes the turn
    …
    await recorder.dismiss_student()         # no turn follows: the rest of its cohort waits for it
    await recorder.attach_labels()           # those that are still in flight are waited for
    recorder.turns, recorder.usage

There is no environment in it: a rollout steps one, a foreign scaffold goes its own way. On a teacher turn the label is
the executed action, one query. What a policy or a label fails with is raised; the turns so far stay.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.message import Message
from turnmix.core.tool_fault import ToolFault
from turnmix.core.trajectory import Action, Actor, State, Turn
from turnmix.core.usage import Usage
from turnmix.policies.policy import PolicySession, counted_usage
from turnmix.rollout.accidents import PendingAccident
from turnmix.rollout.labels import LabelGate, Labels
from turnmix.rollout.mixture import Actors

TakesOver = Callable[[Action, State, Sequence[Turn]], bool]
"""What the teacher would do where the student is to act, there, and the turns so far -> is that executed instead?"""


class Closable(Protocol):
    """An environment, a session, a recorder, or the labels in flight."""

    async def close(self) -> None: ...


async def close_quietly(thing: Closable) -> None:
    """Close; what cannot be closed is dead already, and the outcome of the trajectory stands."""
    with contextlib.suppress(InfrastructureError):
        await thing.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """An action whose observation has not come yet."""

    actor: Actor
    action: Action
    label: Action | None
    """As far as it is known already."""
    asked_at: float
    acted_at: float
    is_label_asked: bool = False
    """Is its label asked for beside it?"""
    label_seconds: float | None = None


@dataclass(slots=True, kw_only=True)
class _Begun:
    """A turn whose action has not come yet."""

    state: State
    actor: Actor
    label: Action | None = None
    """What a teacher that may take over said."""
    is_label_asked: bool | None = None
    """None: the gate has not been asked."""

    def is_of(self, state: State) -> bool:
        return self.state.messages == state.messages and self.state.tools == state.tools


class TurnRecorder:
    """Asks a student and a teacher, and keeps the turns."""

    def __init__(
        self,
        *,
        student: PolicySession,
        teacher: PolicySession | None,
        actors: Actors,
        label: bool | LabelGate,
        accident: PendingAccident | None = None,
        takes_over: TakesOver | None = None,
        clock: Callable[[], float] = time.perf_counter,
        on_label: Callable[[int, Action, float], None] | None = None,
        on_failed_label: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Owns the sessions and the accident from now on: `close` closes them.

        `label`: ask the teacher also in the states in which the student acts, or in those that a gate lets through.
        `accident`: what is executed once, whoever's turn it is. `takes_over`: the teacher is asked before each of the
        student's turns, and acts where this says so; elsewhere what it said is the turn's label. `clock` measures
        seconds. `on_label` is told at once of a label, its turn and its seconds; `on_failed_label`, what one failed
        with.
        """
        self._student = student
        self._teacher = teacher
        self._actors = actors
        self._needs_labels = bool(label)
        # A teacher that may take over is asked before the turn: what it says then is the label.
        asks_beside = bool(label) and takes_over is None
        self._labels = (
            Labels(teacher, gate=label, clock=clock, on_label=on_label, on_failure=on_failed_label)
            if asks_beside and teacher is not None
            else None
        )
        self._accident = accident
        self._takes_over = takes_over
        self._clock = clock
        self._turns: list[Turn] = []
        self._begun: _Begun | None = None
        self.executed: Executed | None = None
        """The last action, until its observation comes."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Those whose observation has come."""
        return tuple(self._turns)

    @property
    def usage(self) -> Mapping[str, Usage]:
        """What asking `student` and `teacher` cost so far."""
        sessions = {"student": self._student, "teacher": self._teacher}
        return {who: self._used(session, who) for who, session in sessions.items() if session is not None}

    async def act(self, state: State) -> Action:
        """The action of whoever acts in `state`, to be executed. It returns once a teacher that is asked for the label
        has looked: until then the environment rests. Where it fails it may be called again: in the same state the same
        actor is asked, and a label that was asked for is not asked for again.

        Raises:
            InfrastructureError: a policy, or a label so far, could not be had.
            UserError: a teacher is needed, and there is none.
        """
        if self.executed is not None:
            raise ValueError("the last action has no observation yet: call `observe` first")
        if self._needs_labels and self._teacher is None:
            raise UserError("labels are asked for, but there is no teacher: set `teacher`")
        asked_at = self._clock()
        actor, action, label = await self._acted(state)
        if self._labels is not None:
            await self._labels.looked()
        begun, self._begun = self._begun, None
        self.executed = Executed(
            actor=actor,
            action=action,
            label=label,
            asked_at=asked_at,
            acted_at=self._clock(),
            is_label_asked=begun is not None and bool(begun.is_label_asked),
        )
        return action

    def resume(self, executed: Executed) -> None:
        """What was executed under an earlier recorder, and has no observation yet."""
        self.executed = executed

    def ask_label_again(self, turn: int, state: State) -> None:
        """For that of a turn that was taken under an earlier recorder; it is attached as others are."""
        if self._labels is not None:
            self._labels.ask_again(turn, state)

    def observe(self, observation: tuple[Message, ...], *, tool_faults: tuple[ToolFault, ...] = ()) -> None:
        """What the last action led to, and which tools failed at it."""
        if (executed := self.executed) is None:
            raise ValueError("there is no action that this could be the observation of: call `act` first")
        self.executed = None
        turn = Turn(
            actor=executed.actor,
            action=executed.action,
            observation=observation,
            label=executed.label,
            seconds={
                "act": executed.acted_at - executed.asked_at,
                "step": self._clock() - executed.acted_at,
                **({} if executed.label_seconds is None else {"label": executed.label_seconds}),
            },
            tool_faults=tool_faults,
        )
        self._turns.append(turn)

    async def dismiss_student(self) -> None:
        """No turn follows."""
        await close_quietly(self._student)

    async def attach_labels(self) -> None:
        """Put the labels that were asked for into their turns. Raises what one of them failed with."""
        if self._labels is not None:
            self._turns = await self._labels.attach(self._turns)

    async def close(self) -> None:
        """Give up what is in flight, and close both sessions: the student's first, for which others may wait."""
        async with contextlib.AsyncExitStack() as closing:
            for thing in (self._accident, self._teacher, self._labels, self._student):
                if thing is not None:
                    closing.push_async_callback(close_quietly, thing)

    async def _acted(self, state: State) -> tuple[Actor, Action, Action | None]:
        """Who acts in `state`, how, and the label as far as it is known."""
        index = len(self._turns)
        begun = self._begin(index, state)
        accident = None if self._accident is None else await self._accident.act(index + 1, state)
        if accident is None and begun.actor == "teacher":
            action = await self._asked(self._teacher, state)
            return "teacher", action, action
        if self._takes_over is not None:
            label = begun.label = begun.label or await self._asked(self._teacher, state)
            if accident is not None:
                return "accident", accident, label
            if self._takes_over(label, state, self._turns):
                return "teacher", label, label
            return "student", await self._asked(self._student, state), label
        if self._labels is not None and begun.is_label_asked is None:
            begun.is_label_asked = self._labels.ask(index, state)
        if accident is not None:
            return "accident", accident, None
        return "student", await self._asked(self._student, state), None

    def _begin(self, index: int, state: State) -> _Begun:
        """The turn that begins in `state`, or goes on where it failed."""
        if self._begun is None or not self._begun.is_of(state):
            if self._begun is not None and self._labels is not None:
                self._labels.withdraw(index)
            self._begun = _Begun(state=state, actor=self._actors(index, state))
        return self._begun

    async def _asked(self, session: PolicySession | None, state: State) -> Action:
        if session is None:
            raise UserError("the mixture lets a teacher act, but there is none: set `teacher`")
        await session.look()
        return await session.act(state)

    def _used(self, session: PolicySession, who: str) -> Usage:
        """As the session counted it; else by the tokens of its actions and labels."""
        if (usage := counted_usage(session)) is not None:
            return usage
        actions = [turn.action for turn in self._turns if turn.actor == who]
        if who == "teacher":
            actions += [
                turn.label for turn in self._turns if turn.actor != "teacher" and turn.label is not None
            ]
        return Usage(
            input_tokens=sum(action.prompt_tokens or 0 for action in actions),
            output_tokens=sum(action.completion_tokens or 0 for action in actions),
        )
