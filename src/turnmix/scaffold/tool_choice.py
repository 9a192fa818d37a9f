"""Which tools a recipe gives its agent: built-in ones by name, a user's own as `package.module:Name`.

In: names, and mappings of a kind with settings. Out: tools, each of which can be told to an agent.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from turnmix.core.doors import Door
from turnmix.core.errors import UserError
from turnmix.core.message import ToolSpecification
from turnmix.core.plugins import is_plugin_name, meant_plugin, plugin_fault
from turnmix.scaffold.bash import Bash
from turnmix.scaffold.editor import Editor
from turnmix.scaffold.think import Finish, Think
from turnmix.scaffold.tool import Tool

ALL_BUILT_IN: tuple[Tool, ...] = (Bash(), Editor(), Think(), Finish())
DOOR = Door(
    field="scaffold.tools.kind",
    base=Tool,
    kinds=(Bash, Editor, Think, Finish),
    needed=("call",),
)


def as_given(tool: Tool) -> Any:
    """A tool as a recipe says it: with all its settings, or its name where it has none."""
    said = tool.model_dump(mode="json")
    return said["kind"] if said.keys() == {"kind"} else said


def _as_mapping(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    if given not in DOOR.kinds and not is_plugin_name(given):
        close = [*difflib.get_close_matches(given, DOOR.kinds, n=1), meant_plugin(given)][0]
        hint = f"; did you mean {close!r}?" if close else ""
        raise ValueError(f"must be {', '.join(DOOR.kinds)} or package.module:Name{hint}")
    return {"kind": given}


def _checked(tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    if not tools:
        raise ValueError("name at least one tool")
    names: dict[str, str] = {}
    for tool in tools:
        if not is_imported(tool):
            continue
        name = _specification(tool).name
        if name in names:
            other = f" of {names[name]} and {tool.kind}" if names[name] != tool.kind else ""
            raise ValueError(f"name every tool once: there are two tools {name}{other}")
        names[name] = tool.kind
    return tools


def _specification(tool: Tool) -> ToolSpecification:
    try:
        return tool.specification
    except ValueError as wrong:
        raise UserError(f"scaffold.tools: {plugin_fault(wrong, name=tool.kind)}") from wrong


def is_imported(tool: Tool) -> bool:
    """Not so where a recipe is only read, and its tools are code of somebody's."""
    return type(tool).call is not Tool.call


ToolChoices = Annotated[
    tuple[Annotated[Tool, DOOR, BeforeValidator(_as_mapping)], ...], AfterValidator(_checked)
]
