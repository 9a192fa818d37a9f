"""What a comparison compares, by name: for each task of a run's analysis a numerator and a denominator.

In: a stored analysis. Out: for each task its share of the outcome, such as nats and tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One of them."""

    title: str
    instrument: str | None
    """Which instrument of `turnmix analyse` measures it; None: the run's own evaluations do too."""
    is_better: str
    """`lower` or `higher`."""


OUTCOMES: Mapping[str, Outcome] = {
    "own_state_label_nll": Outcome(
        title="label NLL on own states", instrument="divergence", is_better="lower"
    ),
    "own_state_label_nll_after_deviation": Outcome(
        title="label NLL on own states after the first deviation", instrument="divergence", is_better="lower"
    ),
    "agreement_on_own_states": Outcome(
        title="agreement on own states", instrument="divergence", is_better="higher"
    ),
    "agreement_on_teacher_states": Outcome(
        title="agreement on the teacher's states", instrument="divergence", is_better="higher"
    ),
    "resolved": Outcome(title="resolved", instrument=None, is_better="higher"),
    "resolved_after_breaking": Outcome(
        title="resolved after a breaking accident", instrument="accidents", is_better="higher"
    ),
    "resolved_after_harmless": Outcome(
        title="resolved after a harmless accident", instrument="accidents", is_better="higher"
    ),
}
