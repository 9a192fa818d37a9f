"""A session, watched while its scaffold runs: what was asked, and how long the scaffold itself has worked.

In: requests. Out: the session's answers, and the time in which none was awaited.
"""

from __future__ import annotations

import asyncio

from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError
from turnmix.gateway.session.session import Session
from turnmix.sandboxes.lifetime import Lifetime
from turnmix.sandboxes.sandbox import Sandbox


class WatchedSession:
    """Neither the scaffold's time nor its sandbox's counts while a model is asked."""

    def __init__(self, session: Session, *, seconds: float, sandbox: Sandbox | None) -> None:
        self._session = session
        self._sandbox = sandbox
        self._num_awaited = 0
        self.is_over = asyncio.Event()
        """Set once the scaffold has worked for so many seconds."""
        self._time = Lifetime(seconds, on_end=self.is_over.set)
        self.num_requests = 0
        self.last_refusal: str | None = None
        """Why the last request that got no answer got none."""

    def begin(self) -> None:
        """The scaffold works from now on."""
        self._time.resume()
        if self._sandbox is not None:
            self._sandbox.resume_lifetime()

    def end(self) -> None:
        """It works no more."""
        self._time.pause()
        if self._sandbox is not None:
            self._sandbox.pause_lifetime()

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """As the session's."""
        self.num_requests += 1
        self._num_awaited += 1
        self.end()
        try:
            return await self._session.answer(request)
        except RequestError as error:
            self.last_refusal = str(error)
            raise
        finally:
            self._num_awaited -= 1
            if not self._num_awaited and not self._session.is_ending:
                self.begin()

    @property
    def failure(self) -> BaseException | None:
        """As the session's."""
        return self._session.failure

    async def close(self) -> None:
        """As the session's."""
        await self._session.close()
