"""The whole page: one file with its style, its script and its data, and a policy that lets nothing else in.

In: runs with their figures, plots, tables and trajectories. Out: HTML. The script is ours, known to the policy by its
hash; what agents wrote is text in JSON, which no browser runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from string import Template

import turnmix
from turnmix.analysis.table import Table
from turnmix.viewing.page.markup import analysis_table, element, escaped, script_json, source_hash
from turnmix.viewing.page.outline import headline, run_sections, what_was_run
from turnmix.viewing.page.plot import Plot, inline_svg
from turnmix.viewing.page.records import TrajectoryRecords
from turnmix.viewing.page.reported_run import ReportedRun

MARK = "<!doctype html><!-- a report of turnmix -->"
"""How a report begins: what begins otherwise is somebody's file, and is not written over."""


_QUESTION = "Did it help?"
_LEAD = (
    "Holdout tasks that the student resolves by itself, before and after training. In brackets: the 95 % interval of "
    "the difference, paired over tasks; it says nothing about other seeds."
)
_QUESTION_OF_ARMS = "Which arm is better?"
_LEAD_OF_ARMS = (
    "Arms × seeds of one comparison, whose outcomes and rule were fixed before its first run. Each outcome has a plot "
    "and a table below."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSummary:
    """What a comparison of the runs says of itself."""

    heading: Sequence[str]
    """Which it is, and when it was fixed."""
    decision: str = ""
    """By its own rule, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a report tells."""

    title: str
    runs: Sequence[ReportedRun]
    plots: Sequence[Plot]
    tables: Sequence[Table]
    records: TrajectoryRecords
    sets: Sequence[str]
    """Names of the sets of trajectories."""
    comparison: ComparisonSummary | None = None
    left_out: str = ""
    """Which trajectories are not in it, if any are not."""


def page(contents: Contents, *, written: datetime) -> str:
    """The file's text."""
    style, script = _source("page.css"), _source("page.js")
    policy = (
        f"default-src 'none'; script-src '{source_hash(script)}'; style-src '{source_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    links = contents.records.keys
    listed = {
        "runs": [run.name for run in contents.runs],
        "sets": list(contents.sets),
        "rows": contents.records.rows(),
    }
    return Template(_source("page.html")).substitute(
        mark=MARK,
        policy=policy,
        style=style,
        script=script,
        title=escaped(contents.title),
        version=escaped(turnmix.__version__),
        written=escaped(written.strftime("%Y-%m-%d %H:%M")),
        question=escaped(_QUESTION if contents.comparison is None else _QUESTION_OF_ARMS),
        lead=escaped(_LEAD if contents.comparison is None else _LEAD_OF_ARMS),
        comparison="" if contents.comparison is None else _comparison(contents.comparison),
        headline=headline(contents.runs),
        runs=element("div", run_sections(contents.runs), class_="runs"),
        plots="".join(map(_figure, contents.plots)),
        tables="".join(analysis_table(table, links=links) for table in contents.tables),
        what_was_run=what_was_run(contents.runs),
        left_out=element("p", escaped(contents.left_out), class_="note") if contents.left_out else "",
        rows=script_json(listed),
        opened=script_json(contents.records.opened()),
    )


def _comparison(comparison: ComparisonSummary) -> str:
    decision = element("p", escaped(comparison.decision), class_="decision") if comparison.decision else ""
    lines = "".join(element("p", escaped(line), class_="note") for line in comparison.heading)
    return element("div", decision + lines, class_="comparison")


def _figure(plot: Plot) -> str:
    title, caption = element("h3", escaped(plot.title)), element("figcaption", escaped(plot.caption))
    return element("figure", title + inline_svg(plot) + caption, id=f"plot-{plot.name}")


def _source(name: str) -> str:
    return (files("turnmix.viewing.page") / name).read_text(encoding="utf-8")
