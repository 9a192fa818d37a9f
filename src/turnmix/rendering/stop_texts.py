"""Where an answer ends before a text that its form does not want, in its text and in its sampled tokens.

In: what was sampled, and the stop texts of `AnswerForm`. Out: the tokens up to the one that completes the first of
them, and the text before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Spell = Callable[[Sequence[int]], str]
"""The text of sampled tokens, less the one that ends a turn."""
_MORE_TOKENS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedAnswer:
    """An answer that ended at a stop text."""

    text: str
    """Less the stop text."""
    stop_text: str
    token_ids: tuple[int, ...]
    """The last one completes the stop text."""


def before_stop(text: str, stop: Sequence[str]) -> tuple[str, str] | None:
    """The text before the stop text that is complete first, and that one; None: it holds none.

    >>> before_stop("look Observation: 1", ("Observation:", "bs")), before_stop("look", ("Observation:",))
    (('look O', 'bs'), None)
    """
    found = [(start + len(each), start, each) for each in stop if (start := text.find(each)) >= 0]
    if not found:
        return None
    _, start, first = min(found)
    return text[:start], first


def completes_stop(token_ids: Sequence[int], stop: Sequence[str], spell: Spell) -> bool:
    """Does an answer so far hold a stop text? Asked after each token: it reads the last ones first."""
    longest = max(len(each.encode("utf-8", "replace")) for each in stop)
    if before_stop(spell(token_ids[-longest - _MORE_TOKENS :]), stop) is None:
        return False
    return before_stop(spell(token_ids), stop) is not None


def stopped_answer(token_ids: Sequence[int], stop: Sequence[str], spell: Spell) -> StoppedAnswer | None:
    """The answer that ends at its first stop text; None: it holds none."""
    if not stop or before_stop(spell(token_ids), stop) is None:
        return None
    low, high = 1, len(token_ids)
    while low < high:
        middle = (low + high) // 2
        if before_stop(spell(token_ids[:middle]), stop) is None:
            low = middle + 1
        else:
            high = middle
    kept = tuple(token_ids[:low])
    before = before_stop(spell(kept), stop)
    return None if before is None else StoppedAnswer(text=before[0], token_ids=kept, stop_text=before[1])
