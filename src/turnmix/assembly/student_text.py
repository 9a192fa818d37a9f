"""What a student's texts are to it: as tokens, and how many; wherever its weights lie.

In: its renderer and tokenizer. Out: what the loop asks about trajectories and transitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from turnmix.assembly.token_counter import StudentTokenCounter
from turnmix.core.trajectory import Action, Trajectory
from turnmix.core.transition import Transition
from turnmix.core.untaught import Objection
from turnmix.policies.scoring import TokenPath
from turnmix.rendering.control_text import ControlTextCount, count_control_texts
from turnmix.rendering.drift import Drift, count_drift
from turnmix.rendering.readback import written_target

if TYPE_CHECKING:
    from turnmix.rendering.renderer import Renderer


class StudentText:
    """A student without its weights."""

    def __init__(self, *, renderer: Renderer, tokenizer: Any, max_context: int) -> None:
        """`max_context`: tokens of the longest context that it learns from."""
        self.renderer = renderer
        self.tokenizer = tokenizer
        self.max_context = max_context
        self.token_counter = StudentTokenCounter(renderer, tokenizer)

    def token_path(self, transition: Transition) -> TokenPath | None:
        """A transition as its tokens; None: it is too long to learn from, or the student cannot say its target."""
        target = written_target(self.renderer, transition.state, transition.target)
        if isinstance(target, Objection):
            return None
        prompt = tuple(self.renderer.prompt_ids(transition.state))
        is_too_long = len(prompt) + len(target) > self.max_context
        return None if is_too_long else TokenPath(prompt_ids=prompt, target_ids=tuple(target))

    def count_tokens(self, action: Action) -> int:
        """Tokens of an action as the student writes it, whoever acted; of its bare text where it cannot."""
        return self.token_counter.answer(action)

    def drift(self, trajectories: Sequence[Trajectory]) -> Drift:
        """How many of its turns later prompts show otherwise than it sampled them."""
        return count_drift(trajectories, self.renderer)

    def control_texts(self, trajectories: Sequence[Trajectory]) -> ControlTextCount:
        """How many texts that its agents read spell a control token."""
        return count_control_texts(trajectories, self.renderer)
