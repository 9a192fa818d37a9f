"""Runs as they come from somebody else, and what `turnmix` says of them."""

import json

import yaml

from turnmix.assembly.model_location import model_location
from turnmix.cli import main

SMALL = {
    "method": "dagger",
    "iterations": 1,
    "tasks": {"train": 8, "holdout": 2},
    "student": {"model": "nano-student", "cohort_size": 2, "max_new_tokens": 16},
    "scaffold": {"max_turns": 2},
    "rollouts": {"tasks_per_iteration": 2, "concurrency": 2, "attempts": 1},
    "evaluation": {"tasks": 2, "base": False},
}


def laid_over(below, above):
    merged = dict(below)
    for key, value in above.items():
        merged[key] = laid_over(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def strangers_run(folder, **sections):
    """A run as it comes out of somebody's archive, with these sections in its recipe."""
    run = folder / "strangers"
    run.mkdir()
    (run / "recipe.yaml").write_text(yaml.safe_dump(laid_over(SMALL, sections)))
    (run / "versions.json").write_text(json.dumps({"turnmix": "0", "begun": "2026-01-01T00:00:00"}))
    return run


def turnmix(capsys, *words):
    """The exit code, and all that was printed."""
    try:
        code = main([*map(str, words)])
    except SystemExit as ended:
        code = ended.code
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def embedded_student():
    return model_location("nano-student", field="student.model")
