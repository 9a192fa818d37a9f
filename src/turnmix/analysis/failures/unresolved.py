"""An unresolved trajectory, and what is to be seen in it without an opinion: patch, refused turns, repeated turns.

Nothing here raises, whatever an agent, a world or a stranger's file put into the trajectory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.environments.patch_paths import patch_paths
from turnmix.environments.solution_outline import SolutionOutline
from turnmix.policies.endpoint.wire import CONTEXT_EXCEEDED
from turnmix.scaffold.observation import is_error
from turnmix.scaffold.stuck import Exchange
from turnmix.scaffold.text_calls import KnownTools, known_tools, read_calls


@dataclass(frozen=True, kw_only=True)
class Unresolved:
    """One that was judged, and not resolved."""

    trajectory: Trajectory
    outline: SolutionOutline | None
    """Where its task is solved; None: the task's source does not tell."""

    @property
    def is_finished(self) -> bool:
        """Did the agent, or its world, bring it to an end?"""
        return self.trajectory.stop_reason is StopReason.finished

    @cached_property
    def patch(self) -> str | None:
        """What the agent changed; None: its world knows no patch."""
        verdict = self.trajectory.verdict
        patch = None if verdict is None else verdict.details.get("patch")
        return patch if isinstance(patch, str) else None

    @cached_property
    def changed_paths(self) -> frozenset[str]:
        return patch_paths(self.patch or "")

    @property
    def num_passed(self) -> int | None:
        """Tests that passed on what was submitted; None: it was not tested, or its world does not tell."""
        verdict = self.trajectory.verdict
        passed = None if verdict is None or not self.trajectory.submitted else verdict.details.get("passed")
        return passed if type(passed) is int else None

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Which turns were executed: all but those that a scaffold rejected."""
        turns = enumerate(self.trajectory.turns)
        return tuple(number for number, turn in turns if not turn.is_rejected)

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """Those that were executed."""
        return tuple(self.trajectory.turns[number] for number in self.numbers)

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """With their calls, also where the agent writes calls as text."""
        return tuple(
            read_calls(turn.action, known.tools) if known.tools and not known.are_on_offer else turn.action
            for turn, known in zip(self.turns, self._tools, strict=True)
        )

    @cached_property
    def refused(self) -> tuple[bool, ...]:
        """Of each turn: was nothing of it carried out?"""
        return tuple(
            _is_refused(action, turn, has_tools=bool(known.tools))
            for action, turn, known in zip(self.actions, self.turns, self._tools, strict=True)
        )

    @cached_property
    def _tools(self) -> tuple[KnownTools, ...]:
        known = known_tools(self.trajectory)
        return tuple(known[number] for number in self.numbers)

    @cached_property
    def repeated(self) -> tuple[bool, ...]:
        """Of each turn: was the same done before, with the same answer?"""
        seen: set[tuple[str, str]] = set()
        found = []
        for action, turn in zip(self.actions, self.turns, strict=True):
            exchange = Exchange.of(action, turn.observation)
            key = (exchange.action, exchange.observation)
            found.append(key in seen)
            seen.add(key)
        return tuple(found)

    @property
    def is_too_long(self) -> bool:
        """Did the conversation outgrow its budget, or what the model reads?"""
        turns = self.turns
        return self.trajectory.stop_reason is StopReason.max_tokens or (
            bool(turns) and turns[-1].action.parse_error == CONTEXT_EXCEEDED
        )


def share(flags: Iterable[bool]) -> float:
    """Of none: 0."""
    listed = list(flags)
    return sum(listed) / len(listed) if listed else 0.0


def _is_refused(action: Action, turn: Turn, *, has_tools: bool) -> bool:
    if action.parse_error is not None:
        return action.parse_error != CONTEXT_EXCEEDED
    if not action.message.tool_calls:
        return has_tools
    return bool(turn.observation) and all(is_error(answer.content) for answer in turn.observation)
