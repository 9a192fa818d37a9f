"""A run's figures as a person reads them: one line a stage, one table a run. At most 80 columns.

In: what stages recorded, and summaries. Out: text. A figure that was not computed is shown as a dash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from turnmix.core.printable import printable_line
from turnmix.viewing.run_warnings import num_left_out, reasons_text

DASH = "–"
USED = ("requests", "retries", "input_tokens", "cached_tokens", "output_tokens")


def evaluation_text(figures: Mapping[str, Any] | None) -> str:
    """Resolved of n, and the 95 % interval of the share.

    >>> evaluation_text({"resolved": 8, "n": 10, "low": 0.4902, "high": 0.9433})
    '8/10   80 % [49, 94]'
    """
    if figures is None:
        return DASH
    if not figures["n"]:
        return "0/0  nothing judged"
    share = 100 * figures["resolved"] / figures["n"]
    interval = f"[{100 * figures['low']:.0f}, {100 * figures['high']:.0f}]"
    return f"{figures['resolved']}/{figures['n']}  {share:3.0f} % {interval}"


def unfinished_text(figures: Mapping[str, Any]) -> str:
    """What stands beside a rate to which trajectories without a finish belong.

    >>> unfinished_text({"unfinished": 3, "unfinished_are": "unresolved"})
    '; 3 unfinished, which count as unresolved'
    """
    if not (number := figures.get("unfinished")):
        return ""
    is_graded = figures.get("unfinished_are") == "graded"
    return f"; {number} unfinished, " + ("which were graded" if is_graded else "which count as unresolved")


def evaluation_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """All that `turnmix evaluate` says of an evaluation."""
    turns = "" if figures["mean_turns"] is None else f"{figures['mean_turns']:.1f} turns on average; "
    reasons = ", ".join(f"{reason} {number}" for reason, number in figures["stop_reasons"].items())
    errors = f"; {figures['infra_errors']} infra errors left out" if figures["infra_errors"] else ""
    yield f"resolved: {evaluation_text(figures)} (95 % interval){unfinished_text(figures)}"
    if (reward := figures.get("mean_reward")) is not None:
        yield f"average reward: {reward:.3g}"
    yield f"{turns}stopped by: {reasons}{errors}"
    if asked := usage_text(figures.get("usage") or {}):
        yield asked


def stage_name(iteration: int) -> str:
    return "base student" if iteration == 0 else f"iteration {iteration}"


def stage_text(stage: str, iteration: int, figures: Mapping[str, Any], seconds: float | None) -> str:
    """What a finished stage came to."""
    name = stage_name(iteration)
    took = "" if seconds is None else f", {duration_text(seconds)}"
    if stage == "rollout":
        beta = "" if figures["beta"] is None else f"β {figures['beta']:.2f}, "
        share = f"teacher's share {_number(figures['realised_beta'])}"
        told = f"{figures['resolved']} of {figures['rollouts']} resolved, {beta}{share}"
        if figures.get("is_imported"):
            told = f"{figures['rollouts']:,} trajectories taken in, {figures['turns']:,} turns to learn"
    elif stage == "train":
        told = (
            f"{figures['labels']:,} labels of {figures['kept']} trajectories, {_kept_text(figures)}"
            f"{_left_out_text(figures)}"
            f"loss {_number(figures['first_epoch_loss'], 3)} → {_number(figures['loss'], 3)}"
        )
    else:
        told = f"holdout resolved {evaluation_text(figures)}{unfinished_text(figures)}"
    if missing := figures.get("logprobs_missing"):
        tokens, first = sum(missing.values()), next(iter(missing))
        told += f", {tokens:,} tokens left out for want of a log-probability ({_named(first, len(missing))})"
    errors = figures.get("infra_errors")
    failed = f", {errors} infra errors" if errors else ""
    return f"{name:<13} {stage:<9} {told}{failed}{took}"


def _kept_text(figures: Mapping[str, Any]) -> str:
    """The teacher's share of what the filter kept, where it is another one than that of all."""
    share = figures.get("realised_beta_kept")
    return (
        f"teacher's share {_number(share)} of these, " if figures.get("dropped") and share is not None else ""
    )


def _left_out_text(figures: Mapping[str, Any]) -> str:
    left_out = num_left_out(figures)
    return f"{left_out:,} left out ({reasons_text(figures['untaught'])}), " if left_out else ""


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The table a run ends with."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("iteration")
    leaves_out = any(map(num_left_out, summary["iterations"]))
    left_out = ["left\nout"] if leaves_out else []
    titles = ["β", "teacher's\nshare", "rollouts\nresolved", "labels", *left_out, "loss"]
    for title in titles:
        table.add_column(title, justify="right")
    table.add_column("holdout resolved\n(95 % interval)", justify="right", no_wrap=True)
    if summary["base"] is not None:
        table.add_row("base", *[""] * len(titles), evaluation_text(summary["base"]))
    for row in summary["iterations"]:
        table.add_row(
            printable_line(str(row["iteration"])),
            _number(row["beta"]),
            _number(row["realised_beta"]),
            f"{DASH if row['resolved'] is None else row['resolved']}/{row['rollouts'] - row['infra_errors']}",
            DASH if row["labels"] is None else f"{row['labels']:,}",
            *([f"{num_left_out(row):,}"] if leaves_out else []),
            _number(row["loss"], 3),
            Text(evaluation_text(row["eval"]), style="bold"),
        )
    measured = [row["eval"] for row in summary["iterations"] if row["eval"]]
    if told := unfinished_text(measured[-1]) if measured else "":
        table.caption, table.caption_justify = f"last evaluation{told}", "left"
    return table


def usage_table(summary: Mapping[str, Any]) -> Table | None:
    """What was asked of servers in each iteration's rollouts, scores and evaluation; None: nothing was."""
    rows = [
        (printable_line(str(row["iteration"])), printable_line(f"{who}{told}"), used)
        for row in summary["iterations"]
        for usage, told in (
            (row.get("usage"), ""),
            (row.get("scoring_usage"), ", scoring"),
            ((row["eval"] or {}).get("usage"), ", evaluated"),
        )
        for who, used in (usage or {}).items()
        if used["requests"]
    ]
    if not rows:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("iteration")
    table.add_column("asked")
    for title in ("requests", "retries", "tokens in", "cached", "tokens out"):
        table.add_column(title, justify="right")
    for iteration, who, used in rows:
        table.add_row(iteration, who, *(f"{used[name]:,}" for name in USED))
    return table


def usage_text(usage: Mapping[str, Mapping[str, int]]) -> str | None:
    """What an evaluation asked of servers; None: nothing.

    >>> used = {"requests": 9, "retries": 1, "input_tokens": 4000, "cached_tokens": 0, "output_tokens": 80}
    >>> usage_text({"teacher": used})
    'asked of the teacher: 9 requests (1 retries), 4,000 tokens in (0 cached), 80 out'
    """
    told = [
        f"asked of the {who}: {used['requests']:,} requests ({used['retries']:,} retries), "
        f"{used['input_tokens']:,} tokens in ({used['cached_tokens']:,} cached), {used['output_tokens']:,} out"
        for who, used in usage.items()
        if used["requests"]
    ]
    return "; ".join(told) or None


def untaught_text(summary: Mapping[str, Any]) -> str | None:
    """What was left out of a whole run, by reason; None: nothing.

    >>> untaught_text({"iterations": [{"untaught": {"unknown_tool": 1}}, {"untaught": {"unknown_tool": 2}}]})
    'Left out of the labels: unknown tool 3. An example of each lies in untaught.json.'
    """
    total: Counter[str] = Counter()
    for row in summary["iterations"]:
        total.update(row.get("untaught") or {})
    if not total:
        return None
    reasons = reasons_text(dict(total.most_common()))
    return f"Left out of the labels: {reasons}. An example of each lies in untaught.json."


def drift_text(drift: Mapping[str, int]) -> str | None:
    """What a person is told of retokenisation drift; None: there is none.

    >>> drift_text({"turns": 640, "differing": 12})
    'Drift: 12 of 640 student turns (1.9 %) are in later prompts not as sampled, but rewritten by the template.'
    """
    if not drift.get("differing") or not drift.get("turns"):
        return None
    share = 100 * drift["differing"] / drift["turns"]
    return (
        f"Drift: {drift['differing']:,} of {drift['turns']:,} student turns ({share:.1f} %) are in later prompts "
        "not as sampled, but rewritten by the template."
    )


def control_text(counted: Mapping[str, int]) -> str | None:
    """What a person is told of text that spells control tokens; None: agents read none.

    >>> control_text({"as_text": 12, "as_tokens": 3})
    'Control tokens spelled in what agents read: 12 stay text, 3 are read as tokens (docs/use-my-student.md).'
    """
    if not any(counted.values()):
        return None
    return (
        f"Control tokens spelled in what agents read: {counted.get('as_text', 0):,} stay text, "
        f"{counted.get('as_tokens', 0):,} are read as tokens (docs/use-my-student.md)."
    )


def duration_text(seconds: float) -> str:
    """
    >>> duration_text(7.26), duration_text(254)
    ('7.3 s', '4 min 14 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _named(first: str, number: int) -> str:
    return first if number == 1 else f"{first} and {number - 1} more"


def _number(value: float | None, digits: int = 2) -> str:
    return DASH if value is None else f"{value:.{digits}f}"
