"""Rollouts that are driven from outside: scaffolds that start themselves take plans, work on them, and finish them.

In: plans, and who acts and labels. Out: a trajectory of each. `POST /sessions` takes the next plan that nobody has, or
one of a task that it names; `finish` says how well it went, where no verifier of the task's own does. What fails around
the agent, or is left alone for too long, is free for another attempt.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.own_file import open_own_directory
from turnmix.core.trajectory import Trajectory
from turnmix.gateway.external.member import ExternalMember, finish_answer
from turnmix.gateway.external.parts import ExternalParts
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.serving.gateway_server import GatewayServer, check_host
from turnmix.gateway.serving.held_session import Operation
from turnmix.gateway.serving.keys import digest_of
from turnmix.gateway.serving.server import Gateway
from turnmix.gateway.serving.sessions import JOURNAL, SessionBook, digests_in
from turnmix.gateway.session.journal import SessionJournal
from turnmix.rollout.admission import collect_members
from turnmix.rollout.mixture import Mixture
from turnmix.rollout.plan import RolloutPlan
from turnmix.rollout.slots import Slots

_WANTED = ("task", "seed", "mixture")


async def collect_external(
    plans: Sequence[RolloutPlan],
    *,
    parts: ExternalParts,
    keep: Callable[[Trajectory], None],
    attempts: int,
    host: str,
    port: int,
    admin_key: str | None,
    listening: Callable[[str], None],
) -> None:
    """Serve until every plan has its trajectory, each of which `keep` is given as it ends. `listening` is told the URL.

    Raises:
        UserError: it cannot listen there; or a mistake of the user's shows.
    """
    check_host(host, admin_key=admin_key, port=port)
    book = SessionBook(parts.settings)
    rollouts = ExternalRollouts(parts, book=book, keep=keep, num_plans=len(plans))
    gateway = Gateway(
        book, opener=rollouts.open, admin_digest=None if admin_key is None else digest_of(admin_key)
    )
    try:
        rollouts.restore(plans)
        collecting = asyncio.create_task(
            collect_members(
                plans,
                make=rollouts.member,
                slots=Slots(len(plans)).first(),
                on_trajectory=rollouts.keep,
                attempts=attempts,
            )
        )
        try:
            # Whoever asks in the first moment finds its session, and plans to take.
            await rollouts.until_given_out(collecting)
            async with GatewayServer(gateway, host=host, port=port) as server:
                listening(server.url)
                await _until_filled(collecting, rollouts, gateway)
        finally:
            await _ended(collecting)
    finally:
        await book.close()


async def _until_filled(collecting: asyncio.Task[Any], rollouts: ExternalRollouts, gateway: Gateway) -> None:
    """Raises what ends the gateway before all plans have their trajectories."""
    beside = [asyncio.create_task(each) for each in (rollouts.book.failed(), rollouts.give_up_idle())]
    try:
        await asyncio.wait({collecting, *beside}, return_when=asyncio.FIRST_COMPLETED)
        for task in (collecting, *beside):
            if task.done():
                task.result()
        rollouts.forget()
    finally:
        if not collecting.done():
            gateway.responder.close()
        await _ended(collecting, *beside)


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class ExternalRollouts:
    """Which plans are free, and what becomes of those that are taken."""

    def __init__(
        self,
        parts: ExternalParts,
        *,
        book: SessionBook,
        keep: Callable[[Trajectory], None],
        num_plans: int,
    ) -> None:
        self.parts = parts
        self.book = book
        self.num_left = num_plans
        """Plans that have no trajectory yet."""
        self._num_sessions: dict[str, int] = {}
        """That a plan has had."""
        self._stopped: dict[str, SessionJournal] = {}
        """Of sessions that were open when the gateway was stopped."""
        self._keep = keep
        self._free: dict[str, ExternalMember] = {}
        """By trajectory, in the order in which they are given out."""
        self._taken: dict[str, ExternalMember] = {}
        self._kept: dict[str, asyncio.Future[None]] = {}
        self._are_given_out = asyncio.Event()

    def member(self, plan: RolloutPlan, cohort: str) -> ExternalMember:
        """As a collector makes one. Each generates alone: scaffolds begin when they like."""
        return ExternalMember(plan, rollouts=self)

    def offer(self, member: ExternalMember) -> None:
        """It may be taken from now on; where a session of it was open when the gateway was stopped, it is."""
        self._are_given_out.set()
        trajectory_id = member.plan.trajectory_id
        if (journal := self._stopped.pop(trajectory_id, None)) is not None:
            self._taken[trajectory_id] = member
            member.restore(journal)
        else:
            self._free[trajectory_id] = member

    async def until_given_out(self, collecting: asyncio.Task[Any]) -> None:
        """Until the plans that a collector begins can be taken, or nothing comes of it."""
        waiting = asyncio.create_task(self._are_given_out.wait())
        try:
            await asyncio.wait({waiting, collecting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    def restore(self, plans: Sequence[RolloutPlan]) -> None:
        """The sessions of earlier processes: those that were open go on, of others the keys are remembered. Raises
        UserError: a journal is damaged."""
        if (directory := self.parts.journals) is None:
            return
        os.close(open_own_directory(directory, is_made=True))
        missing = {plan.trajectory_id for plan in plans}
        for path in sorted(directory.glob(f"*{JOURNAL}")):
            journal = SessionJournal.open(path)
            trajectory_id = journal.trajectory_id
            number = self._num_sessions.get(trajectory_id, 0)
            self._num_sessions[trajectory_id] = max(number, int(journal.about.get("number", 1)))
            # A sandbox has ended with its gateway.
            if self.parts.environment is None and trajectory_id in missing and not journal.is_closed:
                self._stopped[trajectory_id] = journal
                continue
            journal.close()
            self.book.hold_again(
                None,
                id=path.stem,
                digests=digests_in(journal),
                finish=self._told_again(path.stem, trajectory_id),
            )

    def _told_again(self, session_id: str, trajectory_id: str) -> Operation:
        async def finish(body: Mapping[str, Any]) -> dict[str, Any]:
            trajectory = self.parts.finished(trajectory_id)
            if trajectory is None:
                raise RequestError("conflict", "this session ended with an earlier gateway: open another one")
            return finish_answer(session_id, trajectory, plans_left=self.num_left)

        return finish

    def forget(self) -> None:
        """All plans are filled: nobody asks for their sessions any more."""
        if self.parts.journals is not None:
            for path in self.parts.journals.glob(f"*{JOURNAL}"):
                path.unlink(missing_ok=True)

    def withdraw(self, member: ExternalMember) -> None:
        self._free.pop(member.plan.trajectory_id, None)
        self._taken.pop(member.plan.trajectory_id, None)

    def keep(self, trajectory: Trajectory) -> None:
        """It has ended, and nothing more comes of its plan."""
        kept = self.kept(trajectory.id)
        try:
            self._keep(trajectory)
        except BaseException as error:
            self.book.note_failure(error)
            kept.set_exception(RequestError("internal", "it could not be kept: the gateway is ending"))
            raise
        self.num_left -= 1
        if not kept.done():
            kept.set_result(None)

    def kept(self, trajectory_id: str) -> asyncio.Future[None]:
        """Done when the trajectory is kept."""
        if trajectory_id not in self._kept:
            self._kept[trajectory_id] = asyncio.get_running_loop().create_future()
        return self._kept[trajectory_id]

    def next_session(self, trajectory_id: str) -> tuple[str, int]:
        """The id of a plan's next session: its own, and behind the first a number; and that number."""
        number = self._num_sessions[trajectory_id] = self._num_sessions.get(trajectory_id, 0) + 1
        return (trajectory_id if number == 1 else f"{trajectory_id}-session-{number}"), number

    async def open(self, body: Mapping[str, Any], url: str) -> dict[str, Any]:
        """Take a plan: the session that it is worked on in. `url`: by which whoever asks reaches the gateway. Raises
        RequestError."""
        if unknown := sorted(str(key) for key in body if key not in _WANTED):
            raise RequestError(
                "invalid_request",
                f"{unknown[0]!r:.80}: there is no such key: give some of {', '.join(_WANTED)}, or none",
                parameter=unknown[0],
            )
        seed = body.get("seed")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise RequestError(
                "invalid_request",
                f"seed: {seed!r:.80}: give a whole number, or leave it out",
                parameter="seed",
            )
        self.mixture(body.get("mixture"))
        self.book.check_room()
        self._check_room()
        member = self._free_member(body.get("task"))
        trajectory_id = member.plan.trajectory_id
        self._taken[trajectory_id] = self._free.pop(trajectory_id)
        return await member.take(mixture=body.get("mixture"), seed=seed, url=url)

    def mixture(self, given: Any) -> Mixture:
        """That of the recipe, or one that a request asks for. Raises RequestError: there is none such."""
        if given is None:
            return self.parts.mixture
        try:
            if not isinstance(given, Mapping):
                raise UserError(f"mixture: {given!r:.80}: give an object, such as {{'kind': 'student'}}")
            return self.parts.own_mixture(given)
        except UserError as error:
            raise RequestError("invalid_request", "; ".join(error.lines), parameter="mixture") from None

    def _check_room(self) -> None:
        most = self.parts.most_open
        if most is not None and len(self._taken) >= most:
            raise RequestError(
                "unavailable",
                f"{most} sessions are open, each with a sandbox (rollouts.concurrency): finish some first",
            )

    def _free_member(self, task: Any) -> ExternalMember:
        if task is None:
            if self._free:
                return next(iter(self._free.values()))
            if self.num_left:
                raise RequestError(
                    "unavailable", f"all plans are taken; {self.num_left} of them are not finished yet"
                )
            raise RequestError("conflict", "all plans are finished: the gateway is ending")
        name = task.get("id") if isinstance(task, Mapping) else task
        if not isinstance(name, str):
            raise RequestError(
                "invalid_request",
                f"task: {task!r:.80}: give the id of a task, or leave it out",
                parameter="task",
            )
        for member in self._free.values():
            if member.plan.task.id == name:
                return member
        if any(member.plan.task.id == name for member in self._taken.values()):
            raise RequestError("conflict", f"task: {name!r:.200}: it is being worked on", parameter="task")
        raise RequestError(
            "not_found",
            f"task: {name!r:.200}: no plan of this iteration that is left is of it: leave it out",
            parameter="task",
        )

    async def give_up_idle(self) -> None:
        """Sessions of which nothing is heard any more are given up, for ever."""
        seconds = self.parts.settings.idle_seconds
        while True:
            await asyncio.sleep(min(30.0, seconds / 4))
            for held in self.book.idle():
                for member in tuple(self._taken.values()):
                    if member.session_id == held.id:
                        await member.give_up(f"its scaffold asked nothing for {seconds:g} s")
