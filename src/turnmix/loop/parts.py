"""What the loop is given: who acts and learns, and who is told how far the run is."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from turnmix.core.trajectory import Action, Trajectory
from turnmix.core.transition import Transition
from turnmix.gateway.session.tokens import TokenCounter
from turnmix.policies.policy import Policy
from turnmix.policies.scoring import TokenPath
from turnmix.rendering.control_text import ControlTextCount
from turnmix.rendering.drift import Drift
from turnmix.rollout.request import Collect

if TYPE_CHECKING:
    from turnmix.training.fit_report import FitReport, StepReport


class Progress(Protocol):
    """Who is told how far the run is."""

    def begin(self, stage: str, iteration: int, *, total: int, done: int) -> None:
        """A stage of `total` parts begins; `done` of them were found on disk."""

    def advance(self, stage: str, iteration: int, *, done: int, note: str) -> None:
        """`done` parts of the stage are there now. Other stages may run beside it."""

    def end(self, stage: str, iteration: int, figures: dict[str, Any]) -> None:
        """The stage has finished."""


class Metrics(Protocol):
    """Who keeps the run's figures beside its own files."""

    def log(self, figures: Mapping[str, Any], *, step: int) -> None:
        """Figures as they were after so many optimiser steps since the base student."""


class Workers(Protocol):
    """Processes elsewhere, which roll out and evaluate."""

    def collector(self, *, is_taught: bool) -> Collect:
        """What has them collect. `is_taught`: it is learned from what comes out."""
        ...

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """What each machine did since this was last asked."""
        ...


class Student(Protocol):
    """Who acts and learns."""

    @property
    def has_room_beside_learning(self) -> bool:
        """Whether its base may act while it learns."""
        ...

    @property
    def acts_twice(self) -> bool:
        """Whether two of its policies may act at one time."""
        ...

    @property
    def token_counter(self) -> TokenCounter:
        """Counts in its tokens, whoever acted."""
        ...

    def policy(self, *, greedy: bool) -> Policy:
        """The student as it now is, acting."""
        ...

    def base_policy(self) -> Policy:
        """The student as it was before any training, acting greedily, whatever was learned since."""
        ...

    def learn(
        self,
        transitions: list[Transition],
        *,
        generator: random.Random,
        on_step: Callable[[StepReport], None],
    ) -> FitReport:
        """Train on `transitions`, and take them out of the list before that: an iteration's texts are large."""
        ...

    def token_path(self, transition: Transition) -> TokenPath | None:
        """A transition as its tokens; None: it is not learned from, as it is too long or cannot be said."""
        ...

    def count_tokens(self, action: Action) -> int:
        """Tokens of an action as the student writes it, whoever acted."""
        ...

    def drift(self, trajectories: Sequence[Trajectory]) -> Drift:
        """How many of its turns later prompts show otherwise than it sampled them."""
        ...

    def control_texts(self, trajectories: Sequence[Trajectory]) -> ControlTextCount:
        """How many texts that its agents read spell a control token."""
        ...

    def save(self, checkpoint: Path) -> None:
        """Write all that a resumed run needs of it: whole or not at all."""
