"""One rollout of a mixture in which teacher and student take turns, with a label in every state.

Only sizes matter to what trains on it: token counts, and where labels branch off.
"""

import functools
import random
from dataclasses import dataclass

from synthetic_text import library

from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.training.tree import RenderedTransition

MARKUP = 8
"""Tokens that the template puts around a message."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Token counts: a coding agent's prompt (system, tools, issue), its actions and what they show; on a CPU a
    tenth of that."""

    turns: int
    beta: float
    prompt: int = 200
    action: int = 12
    observation: int = 32

    def is_teachers(self, turn):
        """Student turns are spread evenly, as many as beta says."""
        return int((turn + 1) * self.beta) > int(turn * self.beta)

    def transitions(self, vocabulary, seed=0):
        """As token ids."""
        generator = random.Random(seed)

        def tokens(count):
            return tuple(generator.randrange(vocabulary) for _ in range(count))

        history, made = tokens(self.prompt), []
        for turn in range(self.turns):
            label = tokens(self.action)
            made.append(RenderedTransition(prompt_ids=history, target_ids=label, group="a"))
            taken = label if self.is_teachers(turn) else tokens(self.action)
            history += taken + tokens(self.observation)
        return made

    def written(self, tokenizer, seed=0):
        """As messages of about as many tokens, the template's among them."""
        generator = random.Random(seed)
        ids = library_ids(tokenizer)

        def message(role, count):
            start = generator.randrange(len(ids) - count)
            return Message(role=role, content="x" + tokenizer.decode(ids[start : start + count - 1]).strip())

        history, made = [message("user", self.prompt - MARKUP)], []
        for turn in range(self.turns):
            label = message("assistant", self.action - 1)
            made.append(
                Transition(
                    state=State(messages=tuple(history), tools=()),
                    target=Action(message=label),
                    trajectory_id=str(seed),
                    task_id=str(seed),
                )
            )
            taken = label if self.is_teachers(turn) else message("assistant", self.action - 1)
            history += [taken, message("user", self.observation - MARKUP)]
        return made


@functools.cache
def library_ids(tokenizer):
    return tokenizer.encode(library()[:200_000]).ids
