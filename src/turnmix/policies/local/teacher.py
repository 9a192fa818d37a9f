"""A teacher in this process: a language model that acts and labels, each trajectory for itself.

A student generates in lockstep, because all of its cohort act at every moment. A teacher is asked now in one
trajectory, now in another, and for a label while its last one is still being written: each trajectory is a
cohort of one, and its requests are answered in the order in which they came.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from turnmix.core.seed import derive_seed
from turnmix.core.trajectory import Action, State
from turnmix.policies.local.policy import LocalPolicy
from turnmix.policies.local.settings import LocalSettings
from turnmix.policies.policy import Episode, PolicySession
from turnmix.rendering.renderer import Renderer


class LocalTeacherPolicy:
    """Acts with a model whose weights never change."""

    name = "teacher"

    def __init__(self, model: Any, renderer: Renderer, settings: LocalSettings) -> None:
        self._policy = LocalPolicy(model, renderer, settings, greedy=False, name=self.name)

    def begin(self, episode: Episode) -> PolicySession:
        # Its draws are its own: with the student's seed both would sample from the same numbers.
        seed = derive_seed(episode.seed, self.name)
        return _InOrder(self._policy.begin(replace(episode, cohort="", seed=seed)))

    async def close(self) -> None:
        await self._policy.close()


class _InOrder:
    """Answers one request at a time, first come first served."""

    def __init__(self, session: PolicySession) -> None:
        self._session = session
        self._turn = asyncio.Lock()

    async def look(self) -> None:
        await self._session.look()

    async def act(self, state: State) -> Action:
        async with self._turn:
            action = await self._session.act(state)
        # Its tokens are those of its own tokenizer: a student learns the turn in its own.
        message = replace(action.message, token_ids=None)
        return replace(action, message=message, token_ids=None, logprobs=None)

    async def close(self) -> None:
        await self._session.close()
