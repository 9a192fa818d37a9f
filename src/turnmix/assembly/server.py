"""The student's server of a recipe: with which engine, and with which weights.

In: a recipe, and the student's renderer and tokenizer. Out: a `StudentServer`, or a policy that acts through one
of its own; for whoever asks without a run, findings.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from turnmix.assembly.model_location import model_location
from turnmix.assembly.served_student import ServedStudent, load_served_student
from turnmix.assembly.token_counter import StudentTokenCounter
from turnmix.core.errors import UserError
from turnmix.core.seed import derive_seed
from turnmix.policies.policy import Episode, Policy, PolicySession
from turnmix.policies.server.card import shared_cards, told_share
from turnmix.policies.server.settings import ServerSettings
from turnmix.recipe.recipe import Recipe
from turnmix.rendering.check import check_tools

if TYPE_CHECKING:
    from turnmix.core.finding import Finding
    from turnmix.policies.server.engine import Engine, Weights
    from turnmix.policies.server.student_server import StudentServer

SERVER_LOG = "student-server.log"
"""In a run's directory: what a started server printed."""
LEAST_CONTEXT = 2048
"""Tokens that a started server reads in any case: the prompt on which its weights are compared has some hundred."""


class Serving(Protocol):
    """What a student that acts through servers needs of them."""

    def open(self, weights: Weights, *, log: Path, say: Callable[[str], None]) -> None:
        """Start them with those weights."""
        ...

    def renew(self, weights: Weights) -> None:
        """Have them act with those from now on."""
        ...

    @property
    def takes_many_requests(self) -> bool:
        """May two policies ask them at one time?"""
        ...

    def policy(self, *, greedy: bool) -> Policy:
        """The student as their weights now are, acting."""
        ...

    def close(self) -> None:
        """End those that were started. Safe to call twice."""
        ...


MakeServing = Callable[[Recipe, ServedStudent], Serving | None]
"""Makes what a student acts through, as `make_student_server` does."""


def make_student_server(recipe: Recipe, student: ServedStudent) -> StudentServer | None:
    """The server, not opened yet; None: the student acts in this process.

    Raises:
        UserError: the engine cannot serve this student, or its program is not here.
    """
    settings = recipe.student.server
    if settings is None:
        return None
    from turnmix.policies.server.student_server import StudentServer

    model_context = getattr(student.model_configuration, "max_position_embeddings", None)
    return StudentServer(
        settings,
        make_engine(recipe, settings, model_context=model_context),
        student=recipe.student,
        renderer=student.renderer,
        tokenizer=student.tokenizer,
        model_context=model_context,
        needed_context=recipe.conversation_limit,
        generator=random.Random(derive_seed(recipe.seed, "server")),
        own_logprobs=student.own_logprobs,
        trial=student.trial,
    )


def make_engine(recipe: Recipe, settings: ServerSettings, *, model_context: int | None = None) -> Engine:
    """The engine of a server, for the student of `recipe`. `model_context`: tokens that the model reads, if known."""
    student = recipe.student
    if settings.engine == "transformers":
        from turnmix.policies.server.transformers import TransformersEngine

        return TransformersEngine(device=student.device, dtype=student.dtype)
    from turnmix.policies.server.vllm import SERVED_NAME, VllmEngine

    lora = recipe.learner.lora
    served_name = SERVED_NAME if settings.endpoint is None else settings.model or student.model
    # What it kept room for beyond would be taken from all conversations.
    needed = max(recipe.longest_context, LEAST_CONTEXT)
    return VllmEngine(
        dtype=student.dtype,
        lora_rank=None if lora is None else lora.rank,
        served_name=served_name,
        tells_tempered_logprobs=recipe.objective.has_ratio and student.temperature != 1,
        context=None if model_context is None else min(model_context, needed),
    )


def weights_of(recipe: Recipe, *, checkpoint: Path | None) -> Weights:
    """What a server is to act with after `checkpoint` was written; None: before any training."""
    from turnmix.policies.server.engine import Weights
    from turnmix.training.adapter import ADAPTER

    base = _absolute(model_location(recipe.student.model, field="student.model"))
    if checkpoint is None:
        return Weights(location=base, base=base)
    checkpoint = checkpoint.resolve()
    adapter = str(checkpoint / ADAPTER) if recipe.learner.lora is not None else None
    return Weights(location=str(checkpoint), base=base, adapter=adapter)


@contextmanager
def serving(
    server: Serving | None,
    recipe: Recipe,
    *,
    checkpoint: Path | None,
    log: Path,
    say: Callable[[str], None],
) -> Iterator[None]:
    """Inside, `server`, if there is one, is open: tried, with the weights of `checkpoint`.

    Raises:
        UserError: the server lacks something that the run needs.
        InfrastructureError: it did not come up.
    """
    try:
        if server is not None:
            server.open(weights_of(recipe, checkpoint=checkpoint), log=log, say=say)
        yield
    finally:
        if server is not None:
            server.close()


def check_student_server(recipe: Recipe) -> tuple[Finding, ...]:
    """Could a run of `recipe` act through its server? Starts nothing and renews nothing; problems are findings."""
    settings = recipe.student.server
    if settings is None:
        return ()
    from turnmix.core.finding import Finding
    from turnmix.policies.server.check import check_serving
    from turnmix.policies.server.control import ServerControl
    from turnmix.policies.server.engine import ServerSampling
    from turnmix.policies.server.port_owner import check_can_start
    from turnmix.policies.server.process import free_port
    from turnmix.policies.server.program import find_program

    if problem := _card_problem(recipe, settings):
        return (Finding(subject="card", passed=False, detail=problem),)
    if settings.endpoint is None:
        try:
            program = find_program(settings)[0]
            check_can_start()
            free_port(settings.port)
        except UserError as error:
            return (Finding(subject="program", passed=False, detail=str(error)),)
        return (Finding(subject="program", passed=True, detail=f"{program} will serve the student"),)
    student = recipe.student
    return check_serving(
        ServerControl(settings.endpoint, api_key_environment=settings.api_key_environment),
        make_engine(recipe, settings),
        model=settings.model or _absolute(student.model),
        sampling=ServerSampling(
            temperature=student.temperature, top_p=student.top_p, greedy=True, stop_ids=(0,)
        ),
        model_context=None,
        needed_context=recipe.conversation_limit,
    )


def _card_problem(recipe: Recipe, settings: ServerSettings) -> str | None:
    """Would the server take the memory that the student is to learn in, and nobody said how much of it?"""
    if getattr(recipe.tasks, "holdout", None) == "all" or told_share(settings.arguments) is not None:
        return None
    cards = shared_cards(settings, device=recipe.student.device, environment=os.environ)
    if not cards:
        return None
    return (
        f"student.server: it would take most of GPU {', '.join(cards)}, on which the student learns: give it a card of "
        "its own (student.server.environment={CUDA_VISIBLE_DEVICES: '1'}), or say its share of this one "
        "(student.server.arguments=[--gpu-memory-utilization=0.3])"
    )


def served_alone(
    recipe: Recipe, *, location: str, moment: datetime | None = None, greedy: bool = True
) -> ServedAlone:
    """The weights at `location` acting through a server that closes with the policy. `moment`: what the template shows
    as now. `greedy`: else it samples as the recipe says.

    Raises:
        UserError: see `make_student_server` and `StudentServer.open`.
        InfrastructureError: it did not come up.
    """
    from turnmix.policies.server.engine import Weights

    student = load_served_student(recipe, location=location, moment=moment)
    check_tools(student.renderer, recipe.offered_tools)
    # What is evaluated is all weights, merged: an adapter is a matter of training.
    merged = recipe.model_copy(update={"learner": recipe.learner.model_copy(update={"lora": None})})
    server = make_student_server(merged, student)
    assert server is not None
    where = _absolute(location)
    log = Path(tempfile.mkdtemp(prefix="turnmix-")) / SERVER_LOG
    try:
        server.open(Weights(location=where, base=where), log=log)
    except BaseException:
        server.close()
        raise
    counter = StudentTokenCounter(student.renderer, student.tokenizer)
    return ServedAlone(server, log=log, greedy=greedy, token_counter=counter)


class ServedAlone:
    """A policy and the server that is its alone, whose log nobody needs once all went well."""

    name = "student"

    def __init__(
        self, server: StudentServer, *, log: Path, greedy: bool, token_counter: StudentTokenCounter
    ) -> None:
        self.token_counter = token_counter
        self._server = server
        self._log = log
        self.policy = server.policy(greedy=greedy)

    def begin(self, episode: Episode) -> PolicySession:
        return self.policy.begin(episode)

    async def close(self) -> None:
        await self.policy.close()
        await asyncio.to_thread(self._server.close)
        shutil.rmtree(self._log.parent, ignore_errors=True)


def _absolute(location: str) -> str:
    """A directory as a server elsewhere on this machine names it; a hub id as it is."""
    return str(Path(location).resolve()) if Path(location).is_dir() else location
