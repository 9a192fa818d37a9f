"""Accidents: one scripted action in a trajectory, whoever's turn it is (what follows shows whether one recovers).

In: the policy of an accident, a share of the tasks, a range of turns and a seed. Out: whether a task has one, and its
turn, drawn from the seed and the task's id alone: all trajectories of a task, whoever acts in them, have the same. What
cannot be done in the state of that turn is tried again in the next.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Action, State
from turnmix.policies.accident import AccidentPolicy, AccidentSession
from turnmix.policies.policy import Episode

MOST_SECONDS = 300.0
"""That an accident may take to say what happens: a script, which looks at the world and answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accidents:
    """What befalls the trajectories of a batch."""

    policy: AccidentPolicy
    turns: tuple[int, int]
    """The first and the last turn in which it may be due, counted from 1."""
    share: float = 1.0
    """Of the tasks; from 0 to 1."""
    seed: int
    most_seconds: float = MOST_SECONDS
    """That an accident may take in one turn; then this attempt has failed around the agent."""

    def __post_init__(self) -> None:
        check_turns(self.turns)
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be between 0 and 1, not {self.share}")

    def turn_of(self, task_id: str) -> int | None:
        """The turn, counted from 1, in which the accident of a task is due; None: it has none."""
        generator = random.Random(derive_seed(self.seed, "accident", task_id))
        has_one = generator.random() < self.share
        turn = generator.randint(*self.turns)
        return turn if has_one else None

    def begin(self, episode: Episode) -> PendingAccident | None:
        """The accident of one trajectory; None: it has none. Its draws are seeded by the task, as its turn is."""
        turn = self.turn_of(episode.task.id)
        if turn is None:
            return None
        seeded = replace(episode, seed=derive_seed(self.seed, "accident's draws", episode.task.id))
        session = self.policy.begin(seeded)
        return PendingAccident(session, turn=turn, most_seconds=self.most_seconds)


class PendingAccident:
    """The accident of one trajectory, until it has happened."""

    def __init__(self, session: AccidentSession, *, turn: int, most_seconds: float = MOST_SECONDS) -> None:
        """`turn`: from which on it is tried, counted from 1."""
        self._session = session
        self._turn = turn
        self._most_seconds = most_seconds
        self._has_happened = False

    async def act(self, turn: int, state: State) -> Action | None:
        """What happens in turn `turn`, counted from 1; None: nothing. Raises InfrastructureError."""
        if self._has_happened or turn < self._turn:
            return None
        try:
            action = await asyncio.wait_for(self._asked(state), self._most_seconds)
        except asyncio.TimeoutError:
            raise InfrastructureError(
                f"an accident said nothing in {self._most_seconds:g} seconds, in turn {turn}: its session's act(state) "
                "must return an Action, or None"
            ) from None
        if action is not None and not isinstance(action, Action):
            raise UserError(
                f"an accident was {action!r:.100}: its session's act(state) returns an Action, or None"
            )
        self._has_happened = action is not None
        return action

    async def _asked(self, state: State) -> Action | None:
        await self._session.look()
        return await self._session.act(state)

    async def close(self) -> None:
        await self._session.close()


def check_turns(turns: tuple[int, int]) -> None:
    """Raises ValueError: it is no range of turns."""
    first, last = turns
    if not 1 <= first <= last:
        raise ValueError(f"turns must be [first, last] with 1 <= first <= last, not [{first}, {last}]")
