"""In: words that are no command, and options that are none. Out: one line that says what was meant.

Nothing heavy is imported before something is wrong.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from turnmix.core.credentials import masked_word

_COMMANDS = {
    "train": ("run", "fit", "start", "learn", "finetune", "fine-tune", "sft", "dagger", "grpo", "launch"),
    "train --resume RUN": ("resume", "continue", "restart"),
    "evaluate": ("eval", "test", "validate", "benchmark", "score", "infer"),
    "report": ("html", "page", "dashboard", "plot", "plots", "viewer", "ui", "web"),
    "show": ("view", "inspect", "results", "print", "log", "logs", "open"),
    "analyse": ("analyze", "analysis", "diagnose", "divergence"),
    "sweep": ("grid", "compare-methods", "experiment", "experiments", "ablation", "multirun", "search"),
    "compare": ("diff", "significance", "stats", "statistics", "versus", "vs"),
    "runs": ("ls", "list", "status", "ps", "history"),
    "export": ("dump", "save", "write", "convert", "publish", "push"),
    "doctor": ("check", "verify", "info", "env"),
    "tasks": ("task", "data", "dataset"),
    "tasks make": ("make", "make-tasks", "generate"),
    "tasks export": ("harbor", "export-tasks"),
    "tasks prepare": ("prepare", "download", "fetch", "pull"),
    "grade": ("judge", "verdict"),
    "--version": ("version",),
    "train RECIPE --explain": ("explain", "settings", "config"),
}
"""Command -> what others call it."""

_OPTIONS = {
    ("train", "--run DIR"): ("output", "output_dir", "out", "o", "save_dir", "run_dir", "name", "run_name"),
    ("train", "--resume RUN"): ("continue", "resume_from", "resume_from_checkpoint", "restart"),
    ("train", "--dry-run"): ("print", "show", "check"),
    ("train", "--explain"): ("describe", "list", "settings"),
    ("evaluate", "--output DIR"): ("run", "out", "o", "output_dir", "save_dir"),
    ("analyse", "--checkpoints WHICH"): ("checkpoint", "iteration", "iterations", "which"),
    ("analyse", "--tasks N"): ("n", "limit", "num_tasks", "number"),
    ("analyse", "--instruments NAMES"): ("instrument", "tables", "only", "metrics"),
    ("sweep", "--output DIR"): ("run", "out", "o", "output_dir", "save_dir", "dir"),
    ("sweep", "--jobs N"): ("j", "n", "workers", "parallel", "processes", "num_jobs", "max_workers"),
    ("compare", "--outcomes NAMES"): ("outcome", "metric", "metrics", "only"),
    ("tasks make", "--output FILE"): ("out", "o", "output_file"),
    ("tasks export", "--output DIR"): ("out", "o", "output_dir", "to"),
    ("show", "--unresolved"): ("failed", "failures", "failing", "wrong", "unsolved"),
    ("show", "--resolved"): ("passed", "success", "successes", "solved", "correct"),
    ("show", "--limit N"): ("n", "max", "number", "all"),
    ("export", "--to FORM"): ("format", "form", "as", "type", "kind"),
    ("export", "--output PATH"): ("out", "o", "output_file", "output_dir", "file"),
    ("report", "--output FILE"): ("out", "file", "html", "output_file", "report"),
    ("report", "--plots DIR"): ("figures", "images", "svg", "png", "plot", "plots_dir"),
    ("tasks", "--limit N"): ("n", "max", "number"),
    ("tasks make", "--number N"): ("n", "limit", "max"),
}
"""Command and option -> what others call it."""


def command_mistake(word: str, known: Sequence[str]) -> str:
    """What is said of a word that is no command."""
    plain = word.lower()
    close = [command for command, others in _COMMANDS.items() if plain in others or plain == command]
    close += difflib.get_close_matches(plain, known, n=1, cutoff=0.6)
    if close:
        return f"{word!r} is no command: did you mean `turnmix {close[0]}`?"
    from turnmix.recipe.recipe_file import is_recipe

    if is_recipe(word):
        return f"{word!r} is a recipe, not a command: did you mean `turnmix train {word}`?"
    if (Path(word) / "recipe.yaml").is_file():
        return f"{word!r} is a run, not a command: did you mean `turnmix show {word}`?"
    return f"{word!r} is no command: use one of {', '.join(known)}"


def option_mistake(option: str, *, command: str, value: str | None, parser: argparse.ArgumentParser) -> str:
    """What is said of an option that `command` has not; `value` is the word behind it."""
    name, equals, after = option.partition("=")
    value = after if equals else value
    plain = name.lstrip("-").replace("-", "_").lower()
    known = {
        string.lstrip("-").replace("-", "_"): string
        for action in parser._actions
        for string in action.option_strings
        if string.startswith("--")
    }
    for (of, meant), others in _OPTIONS.items():
        if of == command and plain in others:
            return f"unknown argument {name!r}: did you mean {meant}?"
    if plain in ("set", "s", "override", "overrides", "opt", "opts", "args") and not name.startswith("---"):
        example = value if value and "=" in value else "key=value"
        return f"unknown argument {name!r}: a setting needs none: write {masked_word(example)!r} alone"
    if plain in ("config", "recipe", "c", "f", "config_file", "config_name", "config_path", "cfg", "yaml"):
        return f"unknown argument {name!r}: the recipe needs none: `turnmix {command} RECIPE`"
    flat = {key.replace("_", ""): string for key, string in known.items()}
    close = difflib.get_close_matches(plain.replace("_", ""), list(flat), n=1, cutoff=0.8)
    if not close or not name.startswith("--"):
        from turnmix.cli.arguments import setting_of_option

        if len(plain) > 1 and (told := setting_of_option(name, value)):
            return told
    if close:
        return f"unknown argument {name!r}: did you mean {flat[close[0]]}?"
    return f"unknown argument {name!r}: see `turnmix {command} --help`".replace("  ", " ")


def named_choices(choices: Mapping[str, object]) -> list[str]:
    """The commands as they are typed, those of one word first."""
    return sorted(choices, key=lambda command: " " in command)
