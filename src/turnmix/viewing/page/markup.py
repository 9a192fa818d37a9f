"""Text that anybody may have written, as HTML and as JSON inside of HTML.

In: texts and values. Out: markup in which they can only be read: no tag, no attribute, no end of a script, and no
character that turns the direction of writing or is not seen.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from rich.table import Table as RichTable
from rich.text import Text

from turnmix.analysis.table import Table
from turnmix.core.json_text import json_text
from turnmix.core.printable import spelled_out
from turnmix.viewing.analysis_tables import cell_text, heading, is_text

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def escaped(text: str) -> str:
    r"""
    >>> escaped("<b>\u202e"), escaped('"')
    ('&lt;b&gt;\\u202e', '&quot;')
    """
    return html.escape(spelled_out(text, kept="\n"))


def script_json(value: Any) -> str:
    r"""JSON that ends no script, begins no comment and holds ASCII alone.

    >>> script_json(["</script>\u2028"])
    '["\\u003c/script\\u003e\\u2028"]'
    """
    return json_text(value, separators=(",", ":")).translate(_ESCAPES)


def source_hash(text: str) -> str:
    """By which a Content-Security-Policy knows a script or a style sheet."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def element(tag: str, content: str = "", /, **attributes: str) -> str:
    """One element around markup; `class_` is written `class`, `data_x` is `data-x`. Values are escaped."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"' for name, value in attributes.items()
    )
    return f"<{tag}{written}>{content}</{tag}>"


def figures_table(table: RichTable) -> str:
    """What a terminal shows as a table."""
    columns = list(table.columns)
    rows = zip(*([_plain(cell) for cell in column.cells] for column in columns))
    heads = [_plain(column.header) for column in columns]
    is_figure = [column.justify == "right" for column in columns]
    caption = _plain(table.caption) if table.caption is not None else ""
    note = element("p", escaped(caption), class_="note") if caption else ""
    return _table(heads, rows, is_figure=is_figure) + note


def analysis_table(table: Table, *, links: frozenset[str] = frozenset()) -> str:
    """A table of an analysis with its title and notes. A cell that is one of `links` leads to that trajectory."""
    rows = [[cell_text(cell, column) for cell, column in zip(row, table.columns)] for row in table.rows]
    is_figure = [not is_text(table, place) for place in range(len(table.columns))]
    heads = [heading(column, within=table.title) for column in table.columns]
    shown = _table(heads, rows, is_figure=is_figure, links=links)
    notes = "".join(element("p", escaped(note), class_="note") for note in table.notes)
    return element("section", element("h3", escaped(table.title)) + shown + notes, class_="analysis")


def _table(
    heads: Iterable[str],
    rows: Iterable[Iterable[str]],
    *,
    is_figure: list[bool],
    links: frozenset[str] = frozenset(),
) -> str:
    kinds = ["figure" if figure else "name" for figure in is_figure]
    head = "".join(element("th", escaped(text), scope="col", class_=kind) for text, kind in zip(heads, kinds))
    body = "".join(
        element(
            "tr",
            "".join(element("td", _cell(text, links), class_=kind) for text, kind in zip(row, kinds)),
        )
        for row in rows
    )
    inner = element("thead", element("tr", head)) + element("tbody", body)
    return element("div", element("table", inner), class_="scrolls", tabindex="0")


def _cell(text: str, links: frozenset[str]) -> str:
    if text in links:
        return element("a", escaped(text), href=f"#{quote(text, safe='/')}")
    return escaped(text)


def _plain(renderable: Any) -> str:
    return renderable.plain if isinstance(renderable, Text) else str(renderable)
