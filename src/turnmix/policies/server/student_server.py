"""The student's server in a run: started and supervised, or given; opened once, its weights renewed, closed.

In: settings, an engine, the student's renderer, weights. Out: policies that act with the weights last given. A
started server that dies is started again with the same weights, and the requests that it left are asked again;
a given one that dies cannot be: its trajectories are infra_errors.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turnmix.core.errors import InfrastructureError, TurnMixError, UserError
from turnmix.policies.endpoint.settings import AskingSettings, EndpointSettings
from turnmix.policies.server.check import check_serving, check_text_prompts, check_version, refuse
from turnmix.policies.server.control import ServerControl
from turnmix.policies.server.engine import Engine, RenewalError, ServerSampling, Weights
from turnmix.policies.server.held_weights import TRIAL, HeldWeights, Trial
from turnmix.policies.server.policy import ServerPolicy
from turnmix.policies.server.settings import GIVES_TOKENS, ServerSettings
from turnmix.policies.server.started import StartedServer
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.policies.server.verification import OwnLogprobs
from turnmix.rendering import probe
from turnmix.rendering.renderer import Renderer

MOST_RESTARTS = 3
"""A server that died more often in one run has a cause that another start does not mend."""

Say = Callable[[str], None]


class StudentServer:
    """Made before the run, opened with its log file, closed at its end. Its calls are synchronous."""

    def __init__(
        self,
        settings: ServerSettings,
        engine: Engine,
        *,
        student: StudentSettings,
        renderer: Renderer,
        tokenizer: Any,
        model_context: int | None,
        needed_context: int | None,
        generator: random.Random,
        own_logprobs: OwnLogprobs | None = None,
        trial: Trial | None = None,
    ) -> None:
        """
        model_context: tokens that the model reads, as its configuration says
        needed_context: tokens of the longest conversation that the run allows; None: the tasks alone know
        own_logprobs: of the student in this process, to which the server is held after each renewal
        trial: makes other weights, with which renewal is tried at opening; None: it is not to renew any

        Raises:
            UserError: the engine cannot serve this student, or its program is not here.
        """
        if not GIVES_TOKENS[engine.name]:
            refuse([check_text_prompts(renderer, tokenizer)])
        self._settings = settings
        self._engine = engine
        self._student = student
        self._renderer = renderer
        self._model_context = model_context
        self._needed_context = needed_context
        self._generator = generator
        self._held = HeldWeights(
            engine,
            prompt=renderer.prompt_ids(probe.AFTER_TWO_ANSWERS),
            dtype=student.dtype,
            timeout=settings.start_timeout_seconds,
            own=own_logprobs,
            trial=trial,
        )
        self._takes_weights = True
        self._started = None if settings.endpoint is not None else StartedServer(settings, engine)
        self._log: Path | None = None
        self._say: Say = lambda _: None
        self._weights: Weights | None = None
        self._context = model_context
        self.num_restarts = 0
        self._reviving = threading.Lock()
        """Held while it comes up again, for policies that act in other threads."""

    def open(self, weights: Weights, *, log: Path, say: Say = lambda _: None) -> None:
        """Start the server, if it is not given, and try all that the run needs of it: weights renewed, tokens
        returned, context long enough. `log` takes what a started one prints, `say` what a person should know.

        Raises:
            UserError: one line for each thing that it lacks.
            InfrastructureError: it did not come up.
        """
        self._log, self._say, self._weights = log, say, weights
        if self._started is not None:
            self._started.choose_port()
            self._start()
        elif not self._control.is_healthy():
            raise UserError(
                f"student.server.endpoint: {self._control.where}: no healthy server answers there: start it, or "
                "leave endpoint out to have one started"
            )
        try:
            refuse([check_version(self._control, self._engine)])
            self._load_weights()
            self._try_renewal(log.parent / TRIAL)
            found = check_serving(
                self._control,
                self._engine,
                model=self._held.model,
                sampling=self._sampling(greedy=True),
                model_context=self._model_context,
                needed_context=self._needed_context,
            )
            refuse(found)
        except RenewalError as error:
            raise UserError(f"student.server: {self._control.where}: {error}") from error
        self._context = min(
            (c for c in (self._model_context, self._engine.context(self._control, self._held.model)) if c),
            default=None,
        )

    def join(self, *, model: str, context: int | None) -> None:
        """Act through a given server that another process opened, and renews: `model` is the student's name there,
        `context` the tokens that it reads."""
        self._held.model, self._context = model, context

    def renew(self, weights: Weights) -> None:
        """Act with `weights` from now on. No request may be under way.

        Raises:
            RenewalError: the server did not take them.
        """
        self._weights = weights
        if not self._takes_weights:
            self.close()
        if self._is_down:
            self._start_again()
            return
        try:
            self._load_weights()
        except RenewalError as error:
            if self._started is None:
                raise
            self._say(f"student's server: weights not renewed ({error}): starting it again with the new ones")
            self.close()
            self._start_again()

    @property
    def takes_many_requests(self) -> bool:
        return self._engine.most_requests is None

    @property
    def is_spent(self) -> bool:
        """Did a started one die more often than it is started again?"""
        return self._is_down and self.num_restarts >= MOST_RESTARTS

    def policy(self, *, greedy: bool) -> ServerPolicy:
        """The student as its weights now are, acting."""
        reviving = asyncio.Lock()

        async def revive() -> None:
            # Who asks while it comes up waits here: it may not have its weights yet.
            async with reviving:
                if self._is_down or self._reviving.locked():
                    await asyncio.to_thread(self._revive)

        most = self._engine.most_requests
        asked = self._settings.max_concurrency
        settings = EndpointSettings(
            **self._settings.model_dump(include=set(AskingSettings.model_fields) - {"max_concurrency"}),
            endpoint=self._control.endpoint,
            model=self._held.model,
            max_new_tokens=self._student.max_new_tokens,
            max_concurrency=asked if most is None else min(asked, most),
        )
        return ServerPolicy(
            settings,
            engine=self._engine,
            served_model=lambda: self._held.model,
            renderer=self._renderer,
            context=self._context,
            sampling=self._sampling(greedy=greedy),
            generator=self._generator,
            before_attempt=revive,
            key=None if self._started is None else self._started.key,
            guard=None if self._started is None else self._started.refusal,
        )

    def close(self) -> None:
        """End a started server. Safe to call twice."""
        if self._started is not None:
            self._started.close()

    @property
    def _control(self) -> ServerControl:
        if self._started is None:
            return ServerControl(
                str(self._settings.endpoint), api_key_environment=self._settings.api_key_environment
            )
        return ServerControl(self._started.endpoint, key=self._started.key, guard=self._started.refusal)

    @property
    def _is_down(self) -> bool:
        """Should one run that was started here, and does not?"""
        return self._started is not None and self._started.is_down

    def _sampling(self, *, greedy: bool) -> ServerSampling:
        return ServerSampling(
            temperature=self._student.temperature,
            top_p=self._student.top_p,
            greedy=greedy,
            stop_ids=tuple(sorted(self._renderer.stop_ids)),
        )

    def _start(self) -> None:
        assert self._started is not None
        assert self._weights is not None
        assert self._log is not None
        self._say(f"student's server: starting {self._engine.name}; it logs to {self._log}")
        self._started.start(self._weights, log=self._log, is_healthy=lambda: self._control.is_healthy())

    def _start_again(self) -> None:
        try:
            self._start()
        except UserError as error:
            raise InfrastructureError(str(error)) from error
        self._load_weights()

    def _load_weights(self) -> None:
        """Raises RenewalError, also for a server that only says that it did."""
        assert self._weights is not None
        self._held.load(self._control, self._weights)

    def _try_renewal(self, directory: Path) -> None:
        """A server that was started here and takes no new weights while it runs is started anew for each.

        Raises:
            RenewalError: a given server takes none, or one that is not started with its weights either.
        """
        assert self._weights is not None
        try:
            self._held.try_renewal(self._control, self._weights, directory=directory)
        except RenewalError as error:
            if self._started is None or not self._engine.starts_with_weights:
                raise
            self._say(f"student's server: {error}: it is started again for each iteration")
            self._takes_weights = False
            self.close()
            self._start_again()

    def _revive(self) -> None:
        """Start a server that died again; where that is of no use, the requests it left fail by themselves."""
        with self._reviving:
            self._revive_if_down()

    def _revive_if_down(self) -> None:
        if not self._is_down or self.is_spent:
            return
        self.num_restarts += 1
        end = "; " + "\n".join(self._started.end) if self._started and self._started.end else ""
        self._say(
            "student's server died: starting it again with the same weights "
            f"({self.num_restarts} of at most {MOST_RESTARTS}){end}"
        )
        try:
            self._start_again()
        except TurnMixError as error:
            self._say(f"student's server: {error}")
            raise InfrastructureError(*error.lines) from error
