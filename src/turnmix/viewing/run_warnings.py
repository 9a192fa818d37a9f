"""What a person must be told of a run: that nothing is learned, or that much of what the teacher said is lost.

In: the figures of an iteration's stages. Out: sentences, each with what to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from turnmix.core.printable import printable_line

LOUD_SHARE = 0.05
"""Of an iteration's targets: more than this left out is said."""
LOUD_TIME_SHARE = 0.05
"""Of an iteration's rollouts: more than this out of time is said."""
LOUD_ROWS = 1.5
"""Times the rows of all trees: more than this computed is said."""
LOUD_REPEATED = 0.1
"""Of the rows of all trees: more than this repeated, since trees are split, is said."""
LOUD_CLIP_SHARE = 0.02
"""Of the tokens of a first step: more than this clipped is said."""


def stage_warnings(stage: str, iteration: int, figures: Mapping[str, Any]) -> list[str]:
    """The warnings of one stage."""
    found = {"rollout": _of_rollout, "train": _of_training}.get(stage)
    told = [] if found is None else found(figures)
    return [f"iteration {iteration}: {text}" for text in (*told, *tool_fault_warnings([figures]))]


def run_warnings(summary: Mapping[str, Any]) -> list[str]:
    """Those of all stages of a run, from its summary."""
    rows = summary["iterations"]
    evaluations = [summary.get("base"), *(row.get("eval") for row in rows)]
    return [
        *(
            f"iteration {row['iteration']}: {text}"
            for row in rows
            for find in (_of_rollout, _of_training)
            for text in find(row)
        ),
        *large_pass_warnings(rows),
        *tool_fault_warnings(figures for figures in (*rows, *evaluations) if figures is not None),
    ]


def large_pass_warnings(trained: Iterable[Mapping[str, Any]]) -> list[str]:
    """That passes are larger than the budget, of all train stages whose figures `trained` holds: told once."""
    counted = [Counter(figures.get("passes") or {}) for figures in trained]
    passes = max(counted, key=lambda each: each["largest_rows"], default=Counter[str]())
    if passes["largest_rows"] <= passes["budget_rows"]:
        return []
    return [
        f"passes have up to {passes['largest_rows']:,} rows, more than learner.tokens_per_pass "
        f"{passes['budget_rows']:,}: the longest transition alone has {passes['longest_rows']:,}, and smaller parts of "
        "its tree would repeat more than they save; a smaller learner.max_context is what makes passes smaller"
    ]


def tool_fault_warnings(counted: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which tools failed, and where, in all stages whose figures are given."""
    numbers: Counter[tuple[str, str]] = Counter()
    errors: dict[tuple[str, str], str] = {}
    for figures in counted:
        for fault in figures.get("tool_faults") or ():
            key = (fault["tool"], fault["place"])
            numbers[key] += fault["count"]
            errors.setdefault(key, fault["error"])
    return [
        f"the tool {tool} failed in {number:,} calls, at {place}: {errors[tool, place]}; agents were told, and went on"
        for (tool, place), number in numbers.most_common()
    ]


def reasons_text(untaught: Mapping[str, int]) -> str:
    """
    >>> reasons_text({"stop_token_inside": 12, "unknown_tool": 1})
    'stop token inside 12, unknown tool 1'
    """
    return ", ".join(f"{reason.replace('_', ' ')} {number:,}" for reason, number in untaught.items())


def num_left_out(figures: Mapping[str, Any]) -> int:
    """Targets that are malformed or that the student cannot say."""
    return sum((figures.get("untaught") or {}).values())


def _of_rollout(figures: Mapping[str, Any]) -> Iterator[str]:
    num_late = (figures.get("stop_reasons") or {}).get("wall_time", 0)
    if num_late > LOUD_TIME_SHARE * (rollouts := figures.get("rollouts") or 0):
        yield (
            f"{num_late:,} of {rollouts:,} rollouts ran out of time and submitted nothing, mostly the long ones, "
            "which data.filter may then drop; where they act in a sandbox, set scaffold.wall_seconds (and "
            "sandbox.wall_seconds) higher"
        )
    lost = {
        machine: counts["lost"]
        for machine, counts in (figures.get("workers") or {}).items()
        if "lost" in counts
    }
    if lost:
        named = ", ".join(f"{printable_line(machine)} {number}" for machine, number in lost.items())
        yield f"{sum(lost.values())} workers were lost ({named}); what they had under way was rolled out again"
    teacher = figures.get("teacher")
    if teacher is None:
        return
    if teacher["answers"] and teacher["calls"] == 0:
        yield (
            f"the teacher called no tool in {teacher['answers']:,} answers; does its server read tool calls? Where it "
            "does not, set scaffold.tool_calls=text"
        )
    if teacher["acted"] and not teacher["resolved"]:
        yield (
            f"none of the {teacher['acted']:,} rollouts in which the teacher acted is resolved; look at some with "
            "`turnmix show`, and measure the teacher before you learn from it"
        )


def _of_training(figures: Mapping[str, Any]) -> Iterator[str]:
    if figures.get("labels") is None:
        return
    yield from _first_clips(figures)
    yield from _repeated_rows(figures)
    left_out = num_left_out(figures)
    targets = figures["labels"] + left_out
    if figures["labels"] == 0:
        yield f"0 labels, so nothing was learned: {_why_nothing(figures, left_out)}"
    if targets and left_out > LOUD_SHARE * targets:
        yield (
            f"{left_out:,} of {targets:,} targets ({100 * left_out / targets:.0f} %) are not taught: "
            f"{reasons_text(figures['untaught'])}; untaught.json in the run holds an example of each"
        )


def _repeated_rows(figures: Mapping[str, Any]) -> Iterator[str]:
    passes = Counter(figures.get("passes") or {})
    repeated, rows = passes["repeated_rows"], passes["rows"]
    once = max(1, rows - repeated - passes["idle_rows"])
    if rows > LOUD_ROWS * once:
        yield (
            f"{rows / once:.1f} times the rows of all trees were computed, most of what is more by processes that wait "
            f"for others: {passes['ranks']} learn together: start fewer, or set learner.batch_size to a multiple of "
            f"{passes['ranks']}"
        )
    elif repeated > LOUD_REPEATED * once:
        yield (
            f"{100 * repeated / once:.0f} % of the trees' rows were computed again, since trees are split to "
            f"learner.tokens_per_pass={passes['budget_rows']}: {passes['largest_tree_rows']} repeats none, where "
            "memory allows that"
        )


def _first_clips(figures: Mapping[str, Any]) -> Iterator[str]:
    share = (figures.get("objective") or {}).get("first_step_clip_share", 0)
    if share > LOUD_CLIP_SHARE:
        yield (
            f"{100 * share:.1f} % of the tokens were clipped at the first step, where the student is the one that "
            "sampled and every ratio should be 1: it acts otherwise than it learns; compare student.dtype with "
            "learner.dtype, and how its server samples"
        )


def _why_nothing(figures: Mapping[str, Any], left_out: int) -> str:
    objective = figures.get("objective") or {}
    if not figures["kept"]:
        return (
            "the filter kept no trajectory; choose a student or a teacher that resolves some tasks, or another "
            "data.filter"
        )
    if left_out:
        return "every target is malformed, or one that the student cannot write"
    if figures.get("dropped_too_long"):
        return f"{figures['dropped_too_long']:,} transitions are longer than learner.max_context"
    if objective.get("groups_without_spread"):
        return (
            "all rollouts of each task ended alike; set rollouts.samples_per_task higher, or take other tasks"
        )
    return "no visited state has a target; does the method fit who acts (mixture.kind)?"
