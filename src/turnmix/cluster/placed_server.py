"""One of a run's servers, as the command sees it: its actor, its log, and who puts another in its place.

In: what the actor is to be made of, and the weights of now. Out: a server that acts with them, as long as there is a
machine for it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turnmix.cluster.server_actor import GivenWeights, ServerIsDown
from turnmix.core.errors import InfrastructureError, TurnMixError, first_line
from turnmix.core.own_file import open_own

_CLOSE_SECONDS = 30.0


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
        self._pending: Any = None
        self._changing = threading.RLock()
        """Held while it is replaced or renewed."""
        self._closing = threading.Event()
        self._watching: threading.Thread | None = None

    def begin_opening(self) -> None:
        """Have it placed and started; others may be at the same time."""
        self._actor = self._make()
        self._pending = self._actor.open.remote(self._given())

    def end_opening(self) -> TurnMixError | None:
        """Return once it acts, and watch it from now on; or what it lacks, and why it did not come up."""
        try:
            _answer(self._pending)
        except TurnMixError as error:
            return error
        self._watching = threading.Thread(target=self._watch, name=self.name, daemon=True)
        self._watching.start()
        return None

    def begin_renewal(self) -> None:
        self._changing.acquire()
        self._pending = None if self._actor is None else self._actor.renew.remote(self._given())

    def end_renewal(self) -> None:
        """Return once it acts with the weights of now. One that is lost meanwhile comes up with them later.

        Raises:
            RenewalError: it is up and did not take them.
        """
        try:
            with contextlib.suppress(ServerIsDown, LostActor):
                if self._pending is not None:
                    _answer(self._pending)
        finally:
            self._changing.release()

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
                ray.kill(self._actor)
            self._actor = None

    def _watch(self) -> None:
        while not self._closing.wait(self._heartbeat):
            problem = self._look()
            if problem is not None and not self._closing.is_set():
                with self._changing:
                    self._replace(problem)
                if self._actor is None:
                    return

    def _look(self) -> str | None:
        """Keep what it logged and said; what is wrong with it, None: nothing."""
        import ray

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

    def _replace(self, problem: str) -> None:
        import ray

        self._num_lost += 1
        ray.kill(self._actor)
        self._actor = None
        if self._num_lost > self._most_failures:
            self._say(f"{self.name} was lost ({problem}), for the {self._num_lost}th time: it is left out")
            return
        self._say(
            f"{self.name} was lost ({problem}): another one takes its place "
            f"({self._num_lost} of at most {self._most_failures})"
        )
        try:
            self._actor = self._make()
            _answer(self._actor.open.remote(self._given()))
        except TurnMixError as error:
            self._say(f"{self.name}: {error}")


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
