"""The weights that a student's server holds: given to it, and proved, before the run and after each renewal.

In: weights, and what the student in this process says of one prompt. Out: the model's name at the server, which holds
them, or a `RenewalError`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from turnmix.policies.server.control import ServerControl
from turnmix.policies.server.engine import Engine, RenewalError, Weights
from turnmix.policies.server.verification import OwnLogprobs, check_holds_weights

TRIAL = ".trial-weights"
"""In a run's directory, while a server is tried: weights that it takes and gives back."""

Trial = Callable[[Weights, Path], AbstractContextManager[tuple[Weights, OwnLogprobs]]]
"""Of the weights that a server holds, others in a directory, and log π by them."""


class HeldWeights:
    """Of one server, however often it is started."""

    def __init__(
        self,
        engine: Engine,
        *,
        prompt: list[int],
        dtype: str,
        timeout: float,
        own: OwnLogprobs | None,
        trial: Trial | None,
    ) -> None:
        """
        prompt: on which server and student are compared
        dtype: what the server computes in
        timeout: seconds for one renewal
        own: of the student in this process; None: the server is believed
        trial: makes other weights, with which renewal is tried; None: it is not
        """
        self._engine = engine
        self._prompt = prompt
        self._dtype = dtype
        self._timeout = timeout
        self._own = own
        self._trial = trial
        self._told: list[float] | None = None  # by the weights that it holds
        self.model = ""
        """The model's name at the server."""

    def load(self, control: ServerControl, weights: Weights, *, own: OwnLogprobs | None = None) -> None:
        """Of the student; or others, by which `own` tells log π.

        Raises:
            RenewalError: also for a server that only says that it took them.
        """
        own = own or self._own
        self.model = self._engine.renew(control, weights, timeout=self._timeout)
        if own is not None:
            self._told = check_holds_weights(
                self._engine,
                control,
                model=self.model,
                prompt=self._prompt,
                own=own,
                dtype=self._dtype,
                before=self._told,
            )

    def try_renewal(self, control: ServerControl, weights: Weights, *, directory: Path) -> None:
        """Have the server, which holds `weights`, take others and then them again, before hours depend on it. One that
        tells no log-probabilities is believed, if it says that it did.

        Raises:
            RenewalError: it does not take them.
        """
        if self._trial is None:
            return
        if directory.is_symlink():  # somebody else's run: what it points at is not to be written or deleted
            directory.unlink()
        shutil.rmtree(directory, ignore_errors=True)
        try:
            with self._trial(weights, directory) as (others, own):
                self.load(control, others, own=own)
            self.load(control, weights)
        except RenewalError as error:
            raise RenewalError(f"new weights were tried on it before the run: {error}") from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)
