"""What an endpoint's rate limit lets through, for all conversations with it together.

A refusal holds everybody back: for as long as the endpoint asks, or for a pause that doubles as long as nothing is
answered. Then requests go one after the other, at a distance that grows with each refusal and shrinks with each
answer, so that a quota by the minute is used up and not run against.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from turnmix.policies.endpoint.retry import backoff_seconds
from turnmix.policies.endpoint.settings import AskingSettings

Sleep = Callable[[float], Awaitable[None]]

FIRST_DISTANCE = 0.02
LONGEST_DISTANCE = 5.0
LEAST_DISTANCE = 0.01
"""Seconds between two requests: after a first refusal, at most, and where it is let go again."""
SHRINKS = 0.8


class Throttle:
    """Asked before each request, and told how it went."""

    def __init__(
        self,
        settings: AskingSettings,
        *,
        generator: random.Random,
        clock: Callable[[], float],
        sleep: Sleep,
    ) -> None:
        """`generator` draws the jitter of pauses; `clock` gives seconds, `sleep` waits."""
        self._settings = settings
        self._generator = generator
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0
        """No request is sent before this moment."""
        self._distance = 0.0
        self._paused_at = 0.0
        self._num_pauses = 0
        """In a row, without an answer between them."""
        self._answered_at: float | None = None

    async def turn(self) -> float:
        """Wait until a request may be sent. Returns that moment, by which `refused` tells a new refusal."""
        while (pause := self._next - self._clock()) > 0:
            await self._sleep(pause)
        now = self._clock()
        self._next = max(self._next, now + self._distance)
        return now

    def hold(self, seconds: float) -> None:
        """Nobody asks for so long: the endpoint asked for it."""
        self._next = max(self._next, self._clock() + min(seconds, self._settings.max_retry_after_seconds))

    def refused(self, *, sent_at: float, asked: float | None) -> None:
        """A request that was sent at `sent_at` met the rate limit; `asked`: for how long to leave it alone."""
        if sent_at < self._paused_at:
            # Sent before the others were held back: it says nothing new.
            if asked is not None:
                self.hold(asked)
            return
        self._num_pauses += 1
        self._distance = min(max(2 * self._distance, FIRST_DISTANCE), LONGEST_DISTANCE)
        jitter = backoff_seconds(
            self._num_pauses if asked is None else 1,
            base=self._settings.backoff_seconds,
            limit=self._settings.max_backoff_seconds,
            generator=self._generator,
        )
        self._paused_at = self._clock()
        self.hold(min(asked or 0.0, self._settings.max_retry_after_seconds))
        self._next += jitter

    def answered(self) -> None:
        self._num_pauses = 0
        self._answered_at = self._clock()
        shrunk = self._distance * SHRINKS
        self._distance = shrunk if shrunk > LEAST_DISTANCE else 0.0

    def is_used_up(self, *, since: float) -> bool:
        """Was nothing let through for so long that waiting is no use? `since`: when this request was first sent."""
        last = since if self._answered_at is None else max(since, self._answered_at)
        return self._clock() - last >= self._settings.max_throttled_seconds
