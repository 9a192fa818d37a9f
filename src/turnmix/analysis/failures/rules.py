"""Failure modes by rules, in this order; the first that fits is the primary mode.

    the agent finished      1  no edit                  its world knows patches, and it left none
                            2  wrong file               the patch is about none of the files that the solution changes
                            3  syntax or run-time error no test passes of those that passed before; or the last output
                               that shows errors, after the last edit, shows a kind of error that none showed before it
                            -  else a judge decides
    it did not finish       4  context overflow         where the model itself could read no further
                            5  tool-use error           at least half of its turns were refused, or its last three,
                               for which it was stopped as stuck
                            6  repetitive loop          it was stopped as stuck, or at least half of its turns repeat an
                               earlier one, answer included
                            7  context overflow         the conversation's budget of tokens was used up
                            8  budget exhaustion        turns, time, or the machine's limits were

A turn is refused where no call could be read or carried out. In a world that knows no patches 1 to 3 never fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from turnmix.analysis.failures.modes import FailureMode
from turnmix.analysis.failures.unresolved import Unresolved, share
from turnmix.core.trajectory import StopReason

MOST = 0.5
"""A share of turns from which on they make up the trajectory."""
_STUCK_ON = 3
"""Turns in a row that stop a trajectory."""
_ERROR = re.compile(
    r"^(?:E +|ERROR |FAIL \S+ |FAILED .{0,200}? - )?(?:[a-z_][\w.]*\.)?([A-Z]\w{0,60}(?:Error|Exception))\b(?=:|\s*$)",
    re.MULTILINE,
)
_LONGEST_OUTPUT = 64_000
_EDITS = ("create", "str_replace", "insert", "undo_edit")
_EDITED = frozenset({"file_text", "new_str", "new_string", "new_content", "patch", "diff"})
_CHANGES = re.compile(
    r"\b(?:sed|perl) (?:-\w+ )*-\w*i|(?<![-=&\d])>>? ?(?!/dev/null)[\w./\"'$~-]|\b(?:tee|patch|rm|mv|cp|touch) "
    r"|\bgit (?:apply|checkout|restore|reset|stash|revert)\b|\bopen\([^)]{0,200}[\"'][wax]|\.write_text\("
)
_LONGEST_COMMAND = 64_000
_NO_FAULT = frozenset({"AssertionError"})
"""A test says so of what code returns."""


def mode_by_rule(unresolved: Unresolved) -> FailureMode | None:
    """None: no rule decides; the agent finished with a change in the right place, of which no fault is seen."""
    return _of_finished(unresolved) if unresolved.is_finished else _of_unfinished(unresolved)


def _of_finished(unresolved: Unresolved) -> FailureMode | None:
    if unresolved.patch is None:
        return None
    if not unresolved.patch.strip():
        return FailureMode.no_edit
    outline = unresolved.outline
    if outline is not None and outline.paths and not outline.paths & unresolved.changed_paths:
        return FailureMode.wrong_file
    if _nothing_runs(unresolved) or new_errors(unresolved):
        return FailureMode.syntax_or_runtime_error
    return None


def _nothing_runs(unresolved: Unresolved) -> bool:
    outline = unresolved.outline
    return bool(outline and outline.passing_before and unresolved.num_passed == 0)


def new_errors(unresolved: Unresolved) -> frozenset[str]:
    """Kinds of errors that are shown after the last edit, and were not before the first."""
    before: set[str] = set()
    now: set[str] = set()
    has_edited = False
    for action, turn in zip(unresolved.actions, unresolved.turns, strict=True):
        if any(_may_change_files(call.arguments) for call in action.message.tool_calls):
            has_edited = True
            now = set()
        shown = (answer.content[-_LONGEST_OUTPUT:] for answer in turn.observation)
        kinds = {kind for output in shown for kind in _ERROR.findall(output)}
        (now if has_edited else before).update(kinds)
    return frozenset(now - before - _NO_FAULT)


def _may_change_files(arguments: Any) -> bool:
    """As an editor's call, or a shell's, is written in the scaffold here and in most others."""
    if not isinstance(arguments, Mapping):
        return False
    if arguments.get("command") in _EDITS or not _EDITED.isdisjoint(arguments):
        return True
    return any(
        isinstance(value, str) and _CHANGES.search(value[:_LONGEST_COMMAND]) is not None
        for value in arguments.values()
    )


def _of_unfinished(unresolved: Unresolved) -> FailureMode:
    stop = unresolved.trajectory.stop_reason
    is_stuck = stop is StopReason.stuck
    if unresolved.is_too_long and stop is not StopReason.max_tokens:
        return FailureMode.context_overflow
    refused = unresolved.refused
    if share(refused) >= MOST or (is_stuck and all(refused[-_STUCK_ON:])):
        return FailureMode.tool_use_error
    if is_stuck or share(unresolved.repeated) >= MOST:
        return FailureMode.repetitive_loop
    return FailureMode.context_overflow if unresolved.is_too_long else FailureMode.budget_exhaustion
