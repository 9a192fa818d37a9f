"""What sessions of scaffolds that start themselves are made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.task import Task
from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import Environment
from turnmix.gateway.session.tokens import TokenCounter
from turnmix.gateway.settings import GatewaySettings
from turnmix.policies.policy import Policy
from turnmix.rollout.labels import LabelGate
from turnmix.rollout.mixture import Mixture


@dataclass(frozen=True, kw_only=True)
class ExternalParts:
    """The policies stay open; whoever opened them closes them."""

    student: Policy
    teacher: Policy | None
    mixture: Mixture
    own_mixture: Callable[[Mapping[str, Any]], Mixture]
    """One that a request asks for in its place. Raises UserError: the run's method has no such mixture."""
    label: bool | LabelGate
    count: TokenCounter
    settings: GatewaySettings
    max_turns: int
    max_tokens: int
    """Of one session: of its longest conversation."""
    label_seconds: float
    """How long the end of a session waits for labels."""
    environment: Callable[[Task], Environment] | None = None
    """Where a task lies, whose verifier judges it; None: scaffolds have a world of their own, and say how it went."""
    most_open: int | None = None
    """Sessions at one moment, where each has an environment."""
    journals: Path | None = None
    """The directory of the sessions' journals, from which they go on when the gateway was killed."""
    finished: Callable[[str], Trajectory | None] = lambda trajectory_id: None
    """A trajectory that was kept before."""
    gives_logprobs: bool = False
    """Does everyone who may act tell the log-probability of each token?"""
