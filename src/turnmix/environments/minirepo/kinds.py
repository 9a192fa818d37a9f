"""Kinds of parameters of minirepo functions: what they are called, and what values their arguments take."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

NAMES: Mapping[str, tuple[str, ...]] = {
    "numbers": ("numbers", "values", "scores", "prices", "sizes", "ages", "weights", "marks"),
    "others": ("others", "extras", "offers", "bonuses", "limits", "quotas"),
    "number": ("number", "value", "score", "price", "size", "age", "weight", "mark"),
    "other": ("other", "extra", "offer", "bonus", "delta", "offset"),
    "low": ("low", "lower", "least", "floor"),
    "high": ("high", "upper", "most", "ceiling"),
    "count": ("count", "length", "steps", "times"),
    "flag": ("active", "ready", "valid", "strict"),
    "words": ("words", "names", "labels", "titles"),
    "word": ("word", "name", "label", "title"),
}
"""Parameter names by kind; a kind also says what values an argument takes."""

WORDS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "owl", "pig")


def draw_argument(kind: str, generator: random.Random) -> Any:
    """A value for a parameter of `kind`."""
    if kind in ("numbers", "others"):
        return [generator.randint(-9, 9) for _ in range(generator.randint(2, 6))]
    if kind in ("number", "other"):
        return generator.randint(-9, 9)
    if kind == "low":
        return generator.randint(-6, 0)
    if kind == "high":
        return generator.randint(1, 6)
    if kind == "count":
        return generator.randint(1, 4)
    if kind == "flag":
        return generator.random() < 0.5
    if kind == "words":
        return [generator.choice(WORDS) for _ in range(generator.randint(2, 5))]
    return generator.choice(WORDS)
