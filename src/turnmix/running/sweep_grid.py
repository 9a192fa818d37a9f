"""In: what `turnmix sweep` is given: a comparison's file or mapping, or a recipe with lists of values. Out: a
comparison. Of a grid each arm is one choice of the values.

>>> comparison_data("minirepo", ["method=sft,dagger", "seed=0,1", "iterations=2"])["arms"]
{'sft': ['method=sft'], 'dagger': ['method=dagger']}
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnmix.core.credentials import masked_word
from turnmix.core.errors import RecipeError, UserError
from turnmix.recipe.recipe_file import find_recipe, read_recipe
from turnmix.running.comparison_file import GivenComparison, comparison_of, read_comparison

MOST_ARMS = 1000
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+-]+")


def given_comparison(
    given: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] = ()
) -> GivenComparison:
    """Raises RecipeError, UserError: it is none; one line for each mistake."""
    if isinstance(given, Mapping):
        _check_no_overrides("the mapping", overrides)
        return comparison_of(dict(given))
    path = Path(given)
    if path.is_file() and "arms" in read_recipe(path):
        _check_no_overrides(str(path), overrides)
        return read_comparison(path)
    found = _found_recipe(os.fspath(given))
    lists = [each for each in overrides if len(_values(each)) > 1]
    if not lists:
        raise UserError(
            f"{found} is a recipe: put what is to differ behind it, such as method=sft,dagger seed=0,1,2; or name a "
            "comparison file"
        )
    return comparison_of(comparison_data(os.fspath(given), overrides))


def _found_recipe(name: str) -> Path:
    """Raises UserError: it is neither a recipe nor a comparison file."""
    try:
        return find_recipe(name)
    except RecipeError as error:
        path = Path(name)
        beside = [each.name for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, beside, n=1)
        hint = f"; did you mean {path.parent / close[0]}?" if close else ""
        raise UserError(f"{name}: there is no such comparison file, and no such recipe{hint}") from error


def comparison_data(recipe: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The comparison that a grid is, as a file would say it."""
    fixed = [each for each in overrides if len(_values(each)) == 1 and _key(each) != "seed"]
    varied = [each for each in overrides if len(_values(each)) > 1 and _key(each) != "seed"]
    seeds = [value for each in overrides if _key(each) == "seed" for value in _values(each)]
    if len({_key(each) for each in overrides}) < len(overrides):
        raise UserError("a setting is given twice: keep one")
    if wrong := [value for value in seeds if not value.isascii() or not value.isdigit()]:
        raise UserError(f"seed: {wrong[0]!r}: write whole numbers, such as seed=0,1,2")
    arms: dict[str, list[str]] = {}
    keys, values = [_key(each) for each in varied], [_values(each) for each in varied]
    for chosen in itertools.islice(itertools.product(*values), MOST_ARMS + 1):
        words = [f"{key}={value}" for key, value in zip(keys, chosen, strict=True)]
        name = "_".join(map(_named, keys, chosen))[:40] or "run"
        if name in arms:
            raise UserError(f"{masked_word(words[-1])}: given twice, or named like another value: keep one")
        arms[name] = words
    if len(arms) > MOST_ARMS:
        raise UserError(f"the lists make more than {MOST_ARMS:,} arms: leave some values out")
    return {
        "name": f"{Path(recipe).stem}-sweep"[:60],
        "recipe": recipe,
        "overrides": fixed,
        "arms": arms,
        "seeds": [int(seed) for seed in seeds] or [0],
    }


def output_of(given: GivenComparison) -> Path:
    """Where a sweep goes that was given no place."""
    return Path("runs") / given.comparison.name


def _check_no_overrides(source: str, overrides: Sequence[str]) -> None:
    if overrides:
        raise UserError(
            f"{masked_word(overrides[0])!r}: {source} is fixed as it is: write it there, in overrides, or leave it out"
        )


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _values(override: str) -> list[str]:
    """What stands between commas; those inside brackets or quotes part nothing.

    >>> _values("seed=0,1"), _values("learner.betas=[0.9,0.99]"), _values("teacher={kind: oracle},{kind: local}")
    (['0', '1'], ['[0.9,0.99]'], ['{kind: oracle}', '{kind: local}'])
    """
    text = override.partition("=")[2]
    pieces, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{(":
            depth += 1
        elif character in ")}]":
            depth -= 1
        elif character == "," and depth == 0:
            pieces.append("")
            continue
        pieces[-1] += character
    return [piece.strip() for piece in pieces]


def _named(key: str, value: str) -> str:
    """What a value is called in the name of an arm: of a method its name alone."""
    word = _NOT_IN_NAMES.sub("-", value).strip("-.") or "none"
    return word if key == "method" else f"{key.rpartition('.')[2]}-{word}"
