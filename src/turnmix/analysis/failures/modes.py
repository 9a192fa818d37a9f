"""The failure modes of unresolved trajectories, one of which is primary (paper Table 4).

The paper's modes keep their words. Its "wrong solution" is three here, which only a reader can tell apart.
"""

from __future__ import annotations

from enum import Enum


class FailureMode(str, Enum):
    """Why a trajectory stayed unresolved. What each means is in `MEANING`."""

    wrong_file = "wrong file"
    syntax_or_runtime_error = "syntax or run-time error"
    wrong_solution = "wrong solution"
    incomplete_solution = "incomplete solution"
    misunderstood_issue = "misunderstood issue"
    no_edit = "no edit"
    tool_use_error = "tool-use error"
    repetitive_loop = "repetitive loop"
    context_overflow = "context overflow"
    budget_exhaustion = "budget exhaustion"


MEANING: dict[FailureMode, str] = {
    FailureMode.wrong_file: "The agent finished; what it changed lies in none of the files that the solution changes.",
    FailureMode.syntax_or_runtime_error: "The agent finished; what it changed does not run: it does not parse or "
    "import, or raises an error that was not there before.",
    FailureMode.wrong_solution: "The agent finished; it changed the right place, its code runs, and what it does "
    "there is not right.",
    FailureMode.incomplete_solution: "The agent finished; a part of what the task asks is solved, and another part is "
    "not, or not tried.",
    FailureMode.misunderstood_issue: "The agent finished; it did something else than the task asks.",
    FailureMode.no_edit: "The agent finished and left nothing changed.",
    FailureMode.tool_use_error: "The agent did not finish; most of its turns were no calls that could be carried out: "
    "malformed, of unknown tools, with arguments that the tool refuses, or no calls at all.",
    FailureMode.repetitive_loop: "The agent did not finish; it did the same over and over.",
    FailureMode.context_overflow: "The agent did not finish; its conversation became too long.",
    FailureMode.budget_exhaustion: "The agent did not finish; its turns, its time or its machine's limits "
    "were used up.",
}

FINISHED = (
    FailureMode.wrong_file,
    FailureMode.syntax_or_runtime_error,
    FailureMode.wrong_solution,
    FailureMode.incomplete_solution,
    FailureMode.misunderstood_issue,
)
"""Of trajectories that left something to be judged; the others did not."""
JUDGED = (
    FailureMode.wrong_solution,
    FailureMode.incomplete_solution,
    FailureMode.misunderstood_issue,
)
"""No rule finds these."""
