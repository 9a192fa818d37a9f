"""What is taught: a state, a target action and the weights of its tokens (paper Eq. 11 and 14)."""

from __future__ import annotations

from dataclasses import dataclass

from turnmix.core.trajectory import Action, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One supervised pair: learn `target` in `state`."""

    state: State
    target: Action
    weight: float | tuple[float, ...] = 1.0
    """The w of Eq. 14, of either sign: one for all target tokens, or one each."""
    reference_logprobs: tuple[float, ...] | None = None
    """log π of each target token under the policy that the objective compares the student with: the student
    that sampled them for a clipped ratio, the teacher for distillation. None: the objective compares nothing."""
    trajectory_id: str
    """Transitions of one trajectory share prefixes: they are packed together."""
    task_id: str
    """Trajectories of one task share their prompt, so they may be packed together too."""
