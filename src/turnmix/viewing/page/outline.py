"""What a report says before its plots: whether it helped, each run's table, and what was run.

In: runs. Out: markup.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from turnmix.analysis.statistics.comparison import Comparison
from turnmix.analysis.table import Cell, Column, Estimate, Share, Table
from turnmix.core.printable import printable_line
from turnmix.viewing.page.gain import difference, gain
from turnmix.viewing.page.markup import analysis_table, element, escaped, figures_table
from turnmix.viewing.page.reported_run import ReportedRun
from turnmix.viewing.report import (
    DASH,
    duration_text,
    evaluation_lines,
    summary_table,
    untaught_text,
    usage_table,
)
from turnmix.viewing.run_warnings import run_warnings, tool_fault_warnings

MOST_HEADLINES = 6
"""Runs told in large figures; of more there is a table."""
STRANGERS = "not made here: figures and texts are as its maker left them"


def headline(runs: Sequence[ReportedRun]) -> str:
    """One row a run: resolved before, resolved after, and the difference."""
    if len(runs) > MOST_HEADLINES:
        has_any = any(map(_resolved_alone, runs))
        return analysis_table(_headline_table(runs)) if has_any else ""
    told = "".join(map(_headline, runs))
    if len(runs) == 2 and (between := difference(*runs)) is not None:
        first, second = (escaped(run.name) for run in runs)
        told += element("p", f"{first} against {second}: {escaped(_points(between))}", class_="between")
    return element("div", told, class_="headline")


def run_sections(runs: Sequence[ReportedRun]) -> str:
    """What `turnmix show` prints of each."""
    return "".join(map(_run_section, runs))


def what_was_run(runs: Sequence[ReportedRun]) -> str:
    """Essentials, versions, the whole recipe and the command, of each run."""
    return "".join(map(_what_was_run, runs))


def _headline(run: ReportedRun) -> str:
    name = element("h2", escaped(run.name)) + element("p", escaped(essentials(run)), class_="essentials")
    if not run.is_mine:
        name += element("p", escaped(STRANGERS), class_="warning")
    return element("section", element("div", name) + _verdict(run), class_="result")


def _headline_table(runs: Sequence[ReportedRun]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        evaluated = _resolved_alone(run)
        shares = [Share(count=each["resolved"], of=each["n"]) for each in evaluated]
        found = gain(run)
        rows.append(
            (
                run.name,
                shares[0] if len(shares) > 1 else None,
                shares[-1] if shares else None,
                None if found is None else Estimate(value=found.difference, low=found.low, high=found.high),
            )
        )
    return Table(
        name="headline",
        title="Each run",
        columns=(
            Column(title="run"),
            Column(title="base student", unit="share"),
            Column(title="last evaluation", unit="share"),
            Column(title="difference", unit="points"),
        ),
        rows=tuple(rows),
    )


def _verdict(run: ReportedRun) -> str:
    evaluated = _resolved_alone(run)
    if run.results is not None and run.results["n"]:
        evaluated = [run.results]
    if not evaluated:
        told = "It was not evaluated." if run.state == "complete" else f"No evaluation yet: {run.state}."
        return element("p", escaped(told), class_="verdict")
    first, last = evaluated[0], evaluated[-1]
    figure = element("span", f"{_per_cent(last)}&#8201;%", class_="after")
    if len(evaluated) > 1:
        before = element("span", f"{_per_cent(first)}&#8201;%", class_="before")
        figure = before + element("span", " → ", class_="arrow") + figure
    counts = f"{last['resolved']} of {last['n']} holdout tasks resolved"
    if len(evaluated) > 1:
        counts = f"{first['resolved']} → {counts}"
    told = element("p", escaped(counts), class_="counts")
    return element("p", figure, class_="figures") + element(
        "div", told + element("p", escaped(_gain_text(run)), class_="gain"), class_="verdict"
    )


def _resolved_alone(run: ReportedRun) -> list[Mapping[str, Any]]:
    """By the run's own evaluations, or else by its analyses; in the order of iterations."""
    evaluated = [figures for _, figures in run.evaluated() if figures["n"]]
    return evaluated or [figures for _, figures in run.analysed()]


def _gain_text(run: ReportedRun) -> str:
    found = gain(run)
    if found is None and run.analysed() and not any(figures["n"] for _, figures in run.evaluated()):
        return "By its analysis: the run itself evaluated nothing."
    if found is None:
        return "There is no evaluation of the base student to compare with."
    if found.low is not None and found.low > 0:
        return f"It helped: {_points(found)}"
    if found.high is not None and found.high < 0:
        return f"It did harm: {_points(found)}"
    return _points(found)


def _points(found: Comparison) -> str:
    told = f"{100 * found.difference:+.0f} points"
    if found.low is None or found.high is None:
        return f"{told}, without an interval"
    told += f" [{100 * found.low:+.0f}, {100 * found.high:+.0f}]"
    return (
        told
        if found.low > 0 or found.high < 0
        else f"{told}: no difference that {found.num_tasks} tasks can show"
    )


def essentials(run: ReportedRun) -> str:
    """What was run, on one line."""
    if run.subject is not None:
        return printable_line(f"an evaluation of {run.subject['student']}, {run.state}")
    told = [
        _said(run.setting("method")),
        f"seed {_said(run.setting('seed'))}",
        f"{_said(run.setting('iterations'))} × {_rollouts(run)} rollouts",
        _said(run.setting("student.model")),
        f"teacher {_said(run.setting('teacher.model') or run.setting('teacher.kind'))}",
        run.state,
    ]
    return printable_line(", ".join(told))


def _rollouts(run: ReportedRun) -> str:
    tasks, samples = run.setting("rollouts.tasks_per_iteration"), run.setting("rollouts.samples_per_task")
    return str(tasks * samples) if isinstance(tasks, int) and isinstance(samples, int) else DASH


def _run_section(run: ReportedRun) -> str:
    inner = element("h3", escaped(run.name))
    if run.subject is not None and run.results is not None:
        inner += "".join(element("p", escaped(line)) for line in evaluation_lines(run.results))
        inner += _warnings(tool_fault_warnings([run.results]))
    elif run.summary is not None:
        took = duration_text(run.summary["wall_seconds"])
        inner += element("p", escaped(f"{essentials(run)}, {took}"), class_="note")
        inner += figures_table(summary_table(run.summary))
        inner += _warnings(run_warnings(run.summary))
        for told in filter(None, [untaught_text(run.summary)]):
            inner += element("p", escaped(told), class_="note")
        if (usage := usage_table(run.summary)) is not None:
            inner += figures_table(usage)
    else:
        inner += element("p", escaped(f"no stage has finished yet, {run.state}"), class_="note")
    return element("section", inner, class_="run")


def _warnings(warnings: Any) -> str:
    return "".join(element("p", escaped(warning), class_="warning") for warning in warnings)


def _what_was_run(run: ReportedRun) -> str:
    told = "".join(
        element("dt", escaped(name)) + element("dd", escaped(printable_line(text)))
        for name, text in _facts(run)
    )
    recipe = yaml.safe_dump(dict(run.recipe), sort_keys=False, default_flow_style=None, width=100)
    summary = element("summary", escaped("The whole recipe"))
    folded = element("details", summary + element("pre", escaped(recipe)))
    return element("section", element("h3", escaped(run.name)) + element("dl", told) + folded)


def _facts(run: ReportedRun) -> Iterator[tuple[str, str]]:
    yield "directory", f"{run.path}"
    yield "whose", "made by this user on this machine" if run.is_mine else STRANGERS
    if run.summary is not None:
        yield "took", duration_text(run.summary["wall_seconds"])
    if (begun := run.versions.get("begun")) is not None:
        yield "begun", str(begun).replace("T", " ")
    for title, names in _SETTINGS.items():
        said = {name: run.setting(name) for name in names}
        if any(value is not None for value in said.values()):
            yield (
                title,
                ", ".join(f"{name}={_said(value)}" for name, value in said.items() if value is not None),
            )
    if run.subject is None:
        yield "the same again", f"turnmix train {shlex.quote(str(run.path / 'recipe.yaml'))} --run DIRECTORY"
    yield "versions", _versions(run.versions) or DASH


_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "method": (
        "method",
        "mixture.kind",
        "mixture.schedule",
        "mixture.start",
        "mixture.decay",
        "mixture.floor",
        "mixture.every",
        "mixture.support",
        "mixture.shift",
        "mixture.growth",
        "mixture.shrink",
        "mixture.student_turns",
        "mixture.student_share",
        "data.filter",
        "data.dataset",
    ),
    "tasks": ("tasks.source", "tasks.seed", "tasks.train", "tasks.holdout"),
    "student": ("student.model", "student.temperature", "student.max_new_tokens"),
    "teacher": ("teacher.kind", "teacher.model"),
    "rollouts": (
        "iterations",
        "rollouts.tasks_per_iteration",
        "rollouts.samples_per_task",
        "scaffold.max_turns",
    ),
    "learner": ("learner.learning_rate", "learner.schedule", "learner.batch_size", "learner.epochs"),
    "evaluation": ("evaluation.tasks", "evaluation.every", "evaluation.unfinished"),
}


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in versions.items() if isinstance(value, str) and name != "begun"
    )


def _per_cent(figures: Mapping[str, Any]) -> str:
    return f"{100 * figures['resolved'] / figures['n']:.0f}"


def _said(value: Any) -> str:
    return DASH if value is None else f"{value:g}" if isinstance(value, float) else str(value)
