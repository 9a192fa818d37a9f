"""A plot: drawn once, shown on a page in the page's colours, and written as SVG and PNG for papers.

In: a matplotlib figure in the colours below. Out: SVG whose text is text. On a page each colour is a class of the style
sheet, so that the plot follows light and dark; no element has a style of its own, which the page's policy would refuse.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnmix.core.atomic_file import write_atomically
from turnmix.core.printable import printable_line
from turnmix.viewing.trajectory_choice import shortened

INK, MUTED, GRID, PAPER = "#1c1d1f", "#6b6f76", "#e2e3e6", "#fdfdfe"
SERIES = ("#0067a8", "#c8500a", "#00806a", "#a8458f", "#8a6d00", "#4a4f9c")
"""Told apart also by those who do not see red or green, and by their markers."""
MARKERS = ("o", "s", "^", "D", "v", "P")
_LONGEST_NAME = 28
SIZE = (5.2, 3.1)
"""Inches."""
_CLASSES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    **{colour: f"s{place}" for place, colour in enumerate(SERIES)},
}
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    name: str
    """For files and links."""
    title: str
    caption: str
    """A sentence or two: what is seen, of how many, and what the intervals are."""
    figure: Any
    """matplotlib's."""


@contextmanager
def drawing(*, height: float = SIZE[1], columns: int = 1, rows: int = 1) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes, to be drawn on inside; of several columns or rows, all of them."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(SIZE[0], height), layout="constrained")
        yield figure, figure.subplots(nrows=rows, ncols=columns)


def short_name(name: str) -> str:
    return shortened(printable_line(name), _LONGEST_NAME)


def add_legend(figure: Any, axes: Any, *, columns: int = 3) -> None:
    """Above the plot, where there is more than one thing to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside upper left", ncols=min(columns, len(labels)))


def iteration_ticks(axes: Any, iterations: Sequence[int]) -> None:
    """Below a plot by iteration; 0 is the base student."""
    ticks = sorted(set(iterations))
    ticks = ticks[:: max(1, len(ticks) // 10)]
    axes.set_xticks(ticks, ["base" if tick == 0 else str(tick) for tick in ticks])
    axes.set_xlabel("iteration")
    if len(ticks) == 1:
        axes.set_xlim(ticks[0] - 1, ticks[0] + 1)
    else:
        axes.margins(x=0.06)


def span(values: Sequence[int]) -> str:
    """
    >>> span([40]), span([36, 40])
    ('40', '36 to 40')
    """
    return f"{min(values)} to {max(values)}" if len({*values}) > 1 else str(values[0])


def inline_svg(plot: Plot) -> str:
    """As an element of a page."""
    root = ElementTree.fromstring(_written(plot, "svg").decode())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for each in root.iter():
        _take_style(each)
        for attribute in ("id", f"{{{_XLINK}}}href", "clip-path"):
            if (value := each.get(attribute)) is not None:
                each.set(attribute, _own_id(value, plot.name))
    for attribute in ("width", "height"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", plot.title)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def write_plot(plot: Plot, directory: Path) -> None:
    """NAME.svg and NAME.png. Raises OSError."""
    for form in ("svg", "png"):
        write_atomically(directory / f"{plot.name}.{form}", _written(plot, form))


def _written(plot: Plot, form: str) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": plot.name}):
        metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
        plot.figure.savefig(buffer, format=form, dpi=220, metadata=metadata)
    return buffer.getvalue()


def _take_style(each: ElementTree.Element) -> None:
    """Make attributes and classes of an element's style."""
    style = each.attrib.pop("style", "")
    classes = []
    for declaration in filter(None, (part.strip() for part in style.split(";"))):
        name, _, value = declaration.partition(":")
        name, value = name.strip(), value.strip()
        if name == "font-family":
            continue
        each.set(name, value)
        if name in ("fill", "stroke") and (colour := _CLASSES.get(value.lower())):
            classes.append(f"{name}-{colour}")
    if each.tag == f"{{{_SVG}}}text" and "fill" not in each.attrib:
        classes.append("fill-black")
    if classes:
        each.set("class", " ".join(classes))


def _own_id(value: str, name: str) -> str:
    """An id, or what refers to one, that no other plot of the page has."""
    if value.startswith("url(#"):
        return f"url(#{name}-{value[5:]}"
    return f"#{name}-{value[1:]}" if value.startswith("#") else f"{name}-{value}"
