"""What a judge is asked: the prompt file, filled with one unresolved trajectory.

In: a prompt, an unresolved trajectory, the modes that it may have. Out: the text of a question. The fence between our
words and the trajectory's is made of a digest of the trajectory, so that nothing in it can close the fence.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from turnmix.analysis.failures.modes import MEANING, FailureMode
from turnmix.analysis.failures.unresolved import Unresolved
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.message import Message
from turnmix.core.trajectory import Action
from turnmix.scaffold.observation import printable, truncate

PLACES = ("modes", "fence", "task", "solution", "verdict", "patch", "transcript")
_PLACE = re.compile("{(" + "|".join(PLACES) + ")}")
_LONGEST_CALL = 2_000
_LONGEST_OBSERVATION = 2_000
_LONGEST_PROMPT_FILE = 1 << 18


def judge_prompt(prompt_file: Path | None) -> str:
    """The bundled prompt, or the user's own. Raises UserError: it is no such text."""
    if prompt_file is None:
        folder = resources.files("turnmix.analysis.failures") / "prompts"
        return (folder / "judge.txt").read_text(encoding="utf-8").strip()
    where = f"judge: prompt_file: {prompt_file}"
    try:
        with prompt_file.expanduser().open(encoding="utf-8") as file:
            text = file.read(_LONGEST_PROMPT_FILE).strip()
    except (OSError, UnicodeDecodeError) as failure:
        raise UserError(f"{where} cannot be read as UTF-8 text ({failure}): give a text file") from failure
    if lacking := [place for place in ("modes", "transcript") if "{" + place + "}" not in text]:
        raise UserError(f"{where} does not contain {{{lacking[0]}}}; put it where that belongs")
    return text


def question(
    prompt: str, unresolved: Unresolved, modes: Sequence[FailureMode], *, max_characters: int
) -> str:
    """The text that a judge is sent."""
    trajectory = unresolved.trajectory
    parts = {
        "task": _bounded(_task(trajectory.prompt), max_characters // 4),
        "solution": _solution(unresolved),
        "verdict": _verdict(unresolved),
        "patch": _bounded(unresolved.patch or "(nothing, or its world knows no patch)", max_characters // 4),
        "transcript": _bounded("\n".join(_turns(unresolved)), max_characters // 2),
    }
    digest = hashlib.sha256("\0".join(parts.values()).encode()).hexdigest()
    parts["fence"] = f"<<{digest[:16]}>>"
    parts["modes"] = "\n".join(f"- {mode.value}: {MEANING[mode]}" for mode in modes)
    # One pass, so that braces inside a trajectory are never taken for places.
    return _PLACE.sub(lambda found: parts[found[1]], prompt)


def _task(prompt: Sequence[Message]) -> str:
    return "\n\n".join(message.content for message in prompt if message.role == "user")


def _solution(unresolved: Unresolved) -> str:
    if unresolved.outline is None:
        return "Nothing."
    return "It changes these files: " + _bounded(", ".join(sorted(unresolved.outline.paths)), 4_000)


def _verdict(unresolved: Unresolved) -> str:
    verdict = unresolved.trajectory.verdict
    told = (
        {} if verdict is None else {name: value for name, value in verdict.details.items() if name != "patch"}
    )
    ended = f"It ended with: {unresolved.trajectory.stop_reason.value}. Not resolved."
    return _bounded(f"{ended} {json_text(told, ensure_ascii=False)}", 2_000)


def _turns(unresolved: Unresolved) -> Iterator[str]:
    for number, action, turn in zip(unresolved.numbers, unresolved.actions, unresolved.turns, strict=True):
        yield f"[turn {number + 1}]"
        yield from _written(action)
        for message in turn.observation:
            yield "-> " + _bounded(message.content, _LONGEST_OBSERVATION)


def _written(action: Action) -> Iterator[str]:
    if action.message.content:
        yield _bounded(action.message.content, _LONGEST_CALL)
    for call in action.message.tool_calls:
        try:
            arguments = json_text(call.arguments, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            arguments = "(arguments that cannot be shown)"
        yield _bounded(f"{call.name} {arguments}", _LONGEST_CALL)
    if action.parse_error is not None:
        yield "(no call could be read: " + _bounded(action.parse_error, 400) + ")"


def _bounded(text: str, limit: int) -> str:
    return truncate(printable(text), limit=limit)
