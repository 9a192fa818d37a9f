"""Of each reason why a target is not taught the first example, to be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from turnmix.core.atomic_file import write_atomically
from turnmix.core.json_text import json_text, read_json_file
from turnmix.core.untaught import Untaught
from turnmix.rendering.arguments import without_surrogates

_SHOWN_CHARACTERS = 4000


def keep_examples(path: Path, untaught: Iterable[Untaught], *, iteration: int) -> None:
    """Add to the file those of reasons that it has none of."""
    known = read_json_file(path, fix="delete it") if path.is_file() else {}
    examples = dict(known)
    for each in untaught:
        if each.objection.reason in examples:
            continue
        target = json_text(each.target.message.to_json(), ensure_ascii=False)
        examples[each.objection.reason] = {
            "iteration": iteration,
            "trajectory": each.trajectory_id,
            "turn": each.turn,
            "detail": each.objection.detail[:_SHOWN_CHARACTERS],
            "target": target[:_SHOWN_CHARACTERS],
        }
    if len(examples) > len(known):
        write_atomically(path, without_surrogates(json_text(examples, ensure_ascii=False, indent=2)) + "\n")
