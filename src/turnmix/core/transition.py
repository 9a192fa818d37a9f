"""What is taught: a state, a target action and the weights of its tokens (paper Eq. 11 and 14)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    sampled_logprobs: tuple[float, ...] | None = None
    """log π of each target token under the student that sampled it, where the objective needs that beside the
    teacher's."""
    trajectory_id: str
    """Transitions of one trajectory share prefixes: they are packed together."""
    is_well_formed: bool = False
    """True: by the tools on offer in its state nothing is wrong with the target, or no tools are on offer or told of.
    False: nobody has looked."""
    task_id: str
    """Trajectories of one task share their prompt, so they may be packed together too."""

    @property
    def num_without_weight(self) -> int:
        """Target tokens that are left out of what is taught."""
        return sum(weight == 0 for weight in self.weight) if isinstance(self.weight, tuple) else 0


def compared(transition: Transition, logprobs: Sequence[float | None]) -> Transition:
    """`transition` with log π of each target token under the policy that it is compared with. A token whose log π
    is missing (None, or not finite in an older record) is not taught: its weight is 0."""
    taught, known = _taught_where_known(transition, logprobs)
    return replace(taught, reference_logprobs=known)


def weighed_by_ratio(transition: Transition, logprobs: Sequence[float | None]) -> Transition:
    """`transition` with log π of each target token under the student that sampled it; missing ones as above."""
    taught, known = _taught_where_known(transition, logprobs)
    return replace(taught, sampled_logprobs=known)


def _taught_where_known(
    transition: Transition, logprobs: Sequence[float | None]
) -> tuple[Transition, tuple[float, ...]]:
    found = [each if each is not None and math.isfinite(each) else None for each in logprobs]
    known = tuple(0.0 if each is None else each for each in found)
    if None not in found:
        return transition, known
    given = transition.weight
    weights = given if isinstance(given, tuple) else (given,) * len(logprobs)
    kept = tuple(0.0 if each is None else weight for each, weight in zip(found, weights, strict=True))
    return replace(transition, weight=kept), known
