"""How far two labellings of the same trajectories agree, beyond chance: Cohen's κ.

In: pairs of labels. Out: a `Kappa`.

    κ = (p_o − p_e) / (1 − p_e)    p_o: the share of equal pairs; p_e: what it would be by chance, with the labels'
                                   own frequencies (Cohen 1960)

Of ten pairs, (a, a) four times, (a, b) once, (b, b) three times, (b, a) twice: p_o = .7, p_e = .5·.6 + .5·.4 = .5,
so κ = .4.

>>> pairs = [("a", "a")] * 4 + [("a", "b")] + [("b", "b")] * 3 + [("b", "a")] * 2
>>> round(cohen_kappa(pairs).value, 9)
0.4
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH = 0.6
"""Below this κ no claim is made: what stands in a table may be the labeller's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kappa:
    """Of `n` pairs."""

    n: int
    equal: int
    value: float | None
    """None: there is no pair, or there is one label alone, which agrees by chance."""

    @property
    def is_enough(self) -> bool:
        return self.value is not None and self.value >= ENOUGH


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> Kappa:
    n = len(pairs)
    equal = sum(first == second for first, second in pairs)
    firsts, seconds = (Counter(labels) for labels in zip(*pairs)) if pairs else (Counter(), Counter())
    # In whole numbers, so that a chance of one is found exactly.
    by_chance = sum(number * seconds[label] for label, number in firsts.items())
    value = None if by_chance == n * n else (n * equal - by_chance) / (n * n - by_chance)
    return Kappa(n=n, equal=equal, value=value)
