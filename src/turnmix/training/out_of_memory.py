"""What is said where memory does not suffice for a pass: one line with the settings that help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from turnmix.core.errors import UserError
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.pass_counts import PassCounts

ALLOCATORS_WORDS = ("can't allocate memory", "not enough memory")
"""Of PyTorch on a CPU, which has no error of its own."""


@contextmanager
def told_where_memory_ends(text: Callable[[], str]) -> Iterator[None]:
    """Turns an error that a device has no memory into a UserError of this text."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_of_memory(error):
            raise
        raise UserError(text()) from error


def learning_text(settings: LearnerSettings, counts: PassCounts, device: torch.device) -> str:
    """`counts`: the passes so far."""
    remedies = ", or ".join(_remedies(settings, counts))
    return f"learning: {device} has no memory left for passes of {counts.largest_rows:,} rows; set {remedies}"


def _remedies(settings: LearnerSettings, counts: PassCounts) -> Iterator[str]:
    """What makes passes smaller, first what changes no result."""
    if not settings.gradient_checkpointing:
        yield "learner.gradient_checkpointing=true"
    if counts.longest_rows < counts.largest_rows <= settings.tokens_per_pass:
        yield f"learner.tokens_per_pass={counts.longest_rows} (now {settings.tokens_per_pass})"
    if settings.dtype == "float32":
        yield "learner.dtype=bfloat16"
    if settings.lora is None:
        yield "learner.lora={}"
    yield f"learner.max_context below {counts.longest_rows + 1}, which leaves longer transitions out"


def _is_of_memory(error: RuntimeError | MemoryError) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(words in str(error) for words in ALLOCATORS_WORDS)
