"""One play of a TextWorld game: its interpreter answers commands, its planner says what to do next.

What an agent writes reaches the interpreter only where it is a command of the game itself: others would end it, start
it anew, write files, or switch off what the planner follows the game by.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnmix.environments.worlds.game import Scene
from turnmix.environments.worlds.textworld_cook import Cook

GIVES_UP = "give up"
MOST_CHARACTERS = 150
"""Of a command; the interpreter reads 198 bytes of it."""
_COMMAND = re.compile(r"[a-z0-9'\- ]+")
_SHORT = ("get", "i", "l", "x", "n", "s", "e", "w", "north", "south", "east", "west")
_SEVERAL = "then"
"""Between commands; a point and a comma are no signs of a command."""
_STATUS = re.compile(r"\n?>?[ ]{20,}-= [^\n]* =-\s*-?\d+/\d+\s*$")
_AT_THE_END = re.compile(r"\s*Would you like to RESTART, RESTORE .*$", re.DOTALL)
_READ = "Directions:"
"""Stands in the cookbook only."""


class TextWorldGame:
    """Wins and loses by the game's own rules; its reward is the share of its score."""

    acts: tuple[str, ...] = ()
    has_planner = True
    gives_up: str | None = GIVES_UP

    def __init__(
        self,
        make: Callable[[], Path],
        *,
        system: str,
        is_cooking: bool = False,
        are_hands_limited: bool = False,
    ) -> None:
        """`make`: makes the game, unless it was made before, and returns the path of its story."""
        self.system = system
        self._make = make
        self._is_cooking = is_cooking
        self._are_hands_limited = are_hands_limited
        self._story: Path | None = None
        self._environment: Any = None
        self._verbs: tuple[str, ...] = ()
        self._scene = Scene(text="")
        self._score = 0
        self._has_read = False

    def prepare(self) -> None:
        self._story = self._make()

    def start(self) -> Scene:
        import textworld

        wanted = textworld.EnvInfos(
            policy_commands=not self._are_hands_limited,
            **dict.fromkeys(("admissible_commands", "objective", "verbs", "max_score"), True),
        )
        self._environment = textworld.start(str(self._story), wanted)
        self._environment.seed(1)  # left to itself, the interpreter takes one from the clock
        state = self._environment.reset()
        self._verbs = tuple(state.verbs)
        whole = state.feedback
        self._scene = self._shown(state, whole[max(whole.find(state.objective), 0) :])
        return self._scene

    def takes(self, act: str) -> bool:
        return bool(act.strip())

    def act(self, act: str) -> Scene:
        command = " ".join(act.lower().split())
        refusal = self._refusal(command)
        if refusal is not None:
            return replace(self._scene, text=refusal, reward=0.0)
        state, _, _ = self._environment.step(command)
        self._scene = self._shown(state, state.feedback)
        return self._scene

    def is_won(self, reward: float) -> bool:
        return bool(self._scene.details["won"])

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _refusal(self, command: str) -> str | None:
        words = command.split()
        if len(command) > MOST_CHARACTERS or not _COMMAND.fullmatch(command):
            return "A command is a few plain words, one command a turn."
        if _SEVERAL in words:
            return "Say one command a turn."
        if words[0] not in (*self._verbs, *_SHORT):
            return f"That's not a verb I recognise. Known are: {', '.join(self._verbs)}."
        return None

    def _shown(self, state: Any, text: str) -> Scene:
        score = int(state.score or 0)
        gained, self._score = score - self._score, score
        self._has_read |= _READ in text
        is_over = bool(state.won or state.lost)
        return Scene(
            text=_told(text),
            reward=gained / state.max_score,
            is_over=is_over,
            plan=None if is_over else self._planned(state),
            acts=() if is_over else tuple(state.admissible_commands),
            details={
                "won": bool(state.won),
                "lost": bool(state.lost),
                "score": score,
                "max_score": int(state.max_score),
            },
        )

    def _planned(self, state: Any) -> str | None:
        """What the game's planner says, once the recipe was read; that knows it without."""
        policy = state.policy_commands
        if not self._is_cooking or not (policy or self._are_hands_limited):
            return str(policy[0]) if policy else None
        cook = Cook(state["game"], state["_facts"])
        if not self._has_read and (reading := cook.reads()):
            return reading
        return cook.cooks() if self._are_hands_limited else str(policy[0])


def _told(text: str) -> str:
    """What a game says, without the line of its status and the ways to go on after its end.

    >>> _told("\\n\\nTaken.\\n\\n\\n\\n>                            -= Kitchen =-0/2")
    'Taken.'
    """
    kept = _AT_THE_END.sub("", _STATUS.sub("", text))
    return re.sub(r"\n\s*\n", "\n\n", re.sub(r"[ \t]+\n", "\n", kept)).strip() or "Nothing happens."
