"""What a session of the gateway asks and counts with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from turnmix.gateway.session.bounds import SessionBounds
from turnmix.gateway.session.tokens import TokenCounter
from turnmix.policies.policy import Inspectable, Policy
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Actors
from turnmix.rollout.turn_recorder import TakesOver


@dataclass(frozen=True, kw_only=True)
class SessionParts:
    """The policies stay open; it closes their sessions."""

    student: Policy
    teacher: Policy | None
    actors: Actors
    label: bool | LabelGate
    count: TokenCounter
    inspectable: Inspectable | None = None
    """The session's environment, where a privileged teacher may look into it."""
    takes_over: TakesOver | None = None
    gives_logprobs: bool = False
    """Does everyone who may act tell the log-probability of each token?"""
    bounds: SessionBounds | None = None
    """None: the session may go on for ever."""
    clock: Callable[[], float] = time.perf_counter
