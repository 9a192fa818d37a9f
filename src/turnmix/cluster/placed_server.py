"""One of a run's servers, as the command sees it: its actor, its log, and who puts another in its place.

In: what the actor is to be made of, and the weights of now. Out: a server that acts with them, as long as there is a
machine for it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from turnmix.cluster.server_actor import GivenWeights, ServerIsDown
from turnmix.core.errors import InfrastructureError, TurnMixError, first_line
from turnmix.core.own_file import open_own

_CLOSE_SECONDS = 30.0
_NAME_SECONDS = 30.0
"""In which Ray gives up the name of an actor that was ended."""
_LOOK_SECONDS = 0.5


class PlacedServer:
    """Placed, opened, then watched in a thread of its own until it is closed."""

    def __init__(
        self,
        name: str,
        *,
        make: Callable[[], Any],
        given: Callable[[], GivenWeights],
        log: Path,
        say: Callable[[str], None],
        heartbeat: float,
        most_failures: int,
    ) -> None:
        """
        make: gives a new actor of that name
        given: the weights of now
        heartbeat: seconds between two looks; no answer for twice as long is the end of it
        most_failures: it is not replaced more often
        """
        self.name = name
        self._make = make
        self._given = given
        self._log = log
        self._say = say
        self._heartbeat = heartbeat
        self._most_failures = most_failures
        self._num_lost = 0
        self._actor: Any = None
        self._opening: Any = None
        self._changing = threading.RLock()
        """Held while it is replaced or renewed."""
        self._closing = threading.Event()
        self._watching: threading.Thread | None = None

    def begin_opening(self) -> None:
        """Have it placed and started; others may be at the same time."""
        self._actor = self._made()
        self._opening = self._actor.open.remote(self._given())

    def end_opening(self) -> TurnMixError | None:
        """Return once it acts, and watch it from now on; or what it lacks, and why it did not come up."""
        try:
            _answer(self._opening)
        except TurnMixError as error:
            return error
        self._watching = threading.Thread(target=self._watch, name=self.name, daemon=True)
        self._watching.start()
        return None

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        """Inside, it takes the weights of now, as others may at the same time; afterwards it acts with them. One that
        is lost meanwhile comes up with them later.

        Raises:
            RenewalError: it is up and did not take them.
        """
        with self._changing:
            asked = None if self._actor is None else self._actor.renew.remote(self._given())
            yield
            with contextlib.suppress(ServerIsDown, LostActor):
                if asked is not None:
                    _answer(asked)

    def close(self) -> None:
        """End it with all that it started. Safe to call twice."""
        import ray

        self._closing.set()
        if self._watching is not None:
            self._watching.join()
        with self._changing:
            if self._actor is not None:
                self._look()
                with contextlib.suppress(Exception):
                    ray.get(self._actor.close.remote(), timeout=_CLOSE_SECONDS)
            self._end()

    def _watch(self) -> None:
        failure: str | None = None
        while not self._closing.wait(self._heartbeat):
            problem = self._look() or failure
            if problem is not None and not self._closing.is_set():
                with self._changing:
                    failure = self._replace(problem)
                if self._num_lost > self._most_failures:
                    return

    def _look(self) -> str | None:
        """Keep what it logged and said; what is wrong with it, None: nothing."""
        import ray

        if self._actor is None:
            return None
        try:
            seen = ray.get(self._actor.look.remote(), timeout=2 * self._heartbeat)
        except ray.exceptions.GetTimeoutError:
            return f"no sign of life for {2 * self._heartbeat:g} s"
        except ray.exceptions.RayError as error:
            return first_line(error)
        if seen.logged:
            descriptor = open_own(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with open(descriptor, "ab") as log:
                log.write(seen.logged)
        for note in seen.notes:
            self._say(f"{self.name}: {note}")
        return "its server died again and again" if seen.is_spent else None

    def _replace(self, problem: str) -> str | None:
        """Why the one in its place did not come up; None: it did, there is none, or it is closed meanwhile, which waits
        for no weights."""
        import ray

        self._num_lost += 1
        self._end()
        if self._num_lost > self._most_failures:
            self._say(f"{self.name} was lost ({problem}), for the {self._num_lost}th time: it is left out")
            return None
        self._say(
            f"{self.name} was lost ({problem}): another one takes its place "
            f"({self._num_lost} of at most {self._most_failures})"
        )
        try:
            self._actor = self._made()
            opening = self._actor.open.remote(self._given())
            while not self._closing.is_set():
                if ray.wait([opening], timeout=_LOOK_SECONDS)[0]:
                    _answer(opening)
                    break
        except Exception as error:  # whatever that machine lacks: another one may do
            self._say(f"{self.name}: {error}")
            self._look()
            self._end()
            return first_line(error)
        return None

    def _end(self) -> None:
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
        self._actor = None

    def _made(self) -> Any:
        """A new actor. Raises InfrastructureError: another one keeps its name."""
        deadline = time.monotonic() + _NAME_SECONDS
        while True:
            try:
                return self._make()
            except ValueError as error:  # the name of one that was ended a moment ago is taken
                if time.monotonic() > deadline or self._closing.wait(_LOOK_SECONDS):
                    raise InfrastructureError(first_line(error)) from error


class LostActor(InfrastructureError):
    """It is not there any more."""


def _answer(asked: Any) -> Any:
    """What an actor answers. Raises what it raised."""
    import ray

    try:
        return ray.get(asked)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise LostActor(f"a server was lost: {first_line(error)}") from error
