"""What a shell offers at the TAB key: recipes, settings and their values, runs, trajectories, options.

In: the parsers, and the line as the shell hands it over. Out: nothing but completions; the process ends here.
argcomplete does the work; here is what our own words can be.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import argcomplete
from argcomplete.completers import DirectoriesCompleter, FilesCompleter

from turnmix.core.printable import printable_line

LARGEST_LOG_BYTES = 20_000_000
"""Of a run whose trajectories are offered: nobody waits for a shell."""
_MODELS = ["nano-student", "nano-teacher", "babyai-student"]


def offer_completions(
    parser: argparse.ArgumentParser, commands: Mapping[str, argparse.ArgumentParser]
) -> None:
    """Answer the shell, and end the process."""
    completers = {
        "words": _words,
        "run": _runs,
        "runs": _runs,
        "resume": _runs,
        "target": _runs,
        "targets": _runs,
        "directory": DirectoriesCompleter(),
        "trajectory": _trajectories,
    }
    for command in commands.values():
        for action in command._actions:
            if (completer := completers.get(action.dest)) is not None:
                action.completer = completer  # type: ignore[attr-defined]
            if action.dest == "stop_reason":
                action.completer = _stop_reasons  # type: ignore[attr-defined]
    # `tasks make` is two words to the shell, and one command to the parser.
    in_two_words = [name for name in commands if " " in name]
    for name in in_two_words:
        line = os.environ["COMP_LINE"]
        if f" {name} " in line:
            escaped = name.replace(" ", "\\ ")
            os.environ["COMP_LINE"] = line.replace(f" {name} ", f" {escaped} ", 1)
            os.environ["COMP_POINT"] = str(int(os.environ["COMP_POINT"]) + 1)
    # What cannot be shown as it is, such as a directory's name from elsewhere, is not offered.
    argcomplete.autocomplete(parser, exclude=in_two_words, validator=_is_offered)


def _is_offered(word: str, prefix: str) -> bool:
    return word.startswith(prefix) and word == printable_line(word)


def _words(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """A recipe, then settings; behind `=`, what the setting may be."""
    from turnmix.methods.registry import METHODS
    from turnmix.recipe.recipe import Recipe
    from turnmix.recipe.recipe_file import known_recipes
    from turnmix.recipe.setting_search import choices, setting_names

    name, equals, _value = prefix.partition("=")
    if equals:
        fixed = {"method": [*METHODS], "student.model": _MODELS, "teacher.model": _MODELS}
        return [f"{name}={value}" for value in fixed.get(name, choices(Recipe, name))]
    offered = [f"{setting}=" for setting in setting_names(Recipe)]
    if any("=" not in word for word in parsed_args.words or ()):
        return offered
    named = [*known_recipes(), *FilesCompleter(("yaml", "yml"))(prefix)]
    if parsed_args.command == "tasks":
        named += ["make", "prepare"]
    # Before a recipe stands, settings would bury the recipes.
    return [*named, *offered] if prefix else named


def _runs(prefix: str, **_: Any) -> list[str]:
    """Runs, evaluations and sweeps in `runs`, and directories that lead to others."""
    marks = ("recipe.yaml", "comparison.json")
    folders = [path for path in Path("runs").glob("*") if any((path / mark).is_file() for mark in marks)]
    return [str(path) for path in sorted(folders)] + list(DirectoriesCompleter()(prefix))


def _trajectories(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The ids in the run that was named."""
    from turnmix.store.run_directory import RunDirectory

    path = Path(parsed_args.run)
    if sum(log.stat().st_size for log in path.glob("*.jsonl")) > LARGEST_LOG_BYTES:
        return []
    with closing(RunDirectory.read(path)) as run:
        return [*run.trajectories.ids, *run.evaluations.ids]


def _stop_reasons(**_: Any) -> list[str]:
    from turnmix.core.trajectory import StopReason

    return [reason.value for reason in StopReason]
