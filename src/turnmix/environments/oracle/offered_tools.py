"""The oracle's steps in the tools that a state offers: a foreign scaffold has others than those of `scaffold/`.

In: a step in the native tools, and the tools on offer. Out: the same step as a call of one of these. An edit for which
there is no editor becomes a shell command; where no tool ends the task, words or the command that the prompt names do.

    >>> bash = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
    >>> tools = OfferedTools.of((ToolSpecification(name="bash", description="", parameters=bash),), prompt="")
    >>> view = call_action("str_replace_editor", command="view", path="/testbed/a.py", view_range=[3, -1])
    >>> tools.say(view).message.tool_calls[0].arguments["command"]
    "cat -n /testbed/a.py | sed -n '3,$p'"
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnmix.core.message import ToolSpecification
from turnmix.core.trajectory import Action
from turnmix.policies.scripted import call_action, text_action

SHELL, EDITOR, FINISH = "execute_bash", "str_replace_editor", "finish"
"""The tools that the oracle thinks in."""
COMMAND_ARGUMENTS = ("command", "cmd")
"""As shells call what they run."""
EDITOR_ARGUMENTS = frozenset({"command", "path", "old_str", "new_str"})
"""By which an editor is known that is used as the native one is."""
FINISH_TOOLS = (FINISH, "submit", "done", "task_complete", "attempt_completion")
FINISH_COMMANDS = ("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",)
"""Commands that end a task in scaffolds whose prompt says so: mini-swe-agent's."""
END = "END_OF_EDIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTools:
    """How each kind of step is said."""

    is_native: bool = False
    """Steps are said as they are."""
    shell: ToolSpecification | None = None
    editor: ToolSpecification | None = None
    finish: ToolSpecification | None = None
    finish_command: str | None = None

    @classmethod
    def of(cls, tools: tuple[ToolSpecification, ...], *, prompt: str) -> OfferedTools:
        """`prompt`: of the conversation's first messages."""
        if not tools or {SHELL, EDITOR, FINISH} <= {tool.name for tool in tools}:
            return NATIVE_TOOLS
        return cls(
            shell=next((tool for tool in tools if _command_argument(tool) is not None), None),
            editor=next((tool for tool in tools if set(_properties(tool)) >= EDITOR_ARGUMENTS), None),
            finish=next((tool for name in FINISH_TOOLS for tool in tools if tool.name == name), None),
            finish_command=next((command for command in FINISH_COMMANDS if command in prompt), None),
        )

    @property
    def takes_input(self) -> bool:
        """Whether a running command can be typed into."""
        return self.is_native or (self.shell is not None and "is_input" in _properties(self.shell))

    def command_in(self, arguments: Mapping[str, object]) -> str:
        """What a call runs; nothing, where it is no call of a shell."""
        name = "command" if self.shell is None else _command_argument(self.shell)
        command = arguments.get(name or "command", "")
        return " ".join(map(str, command)) if isinstance(command, list) else str(command)

    def say(self, step: Action) -> Action:
        """`step`, which calls one native tool."""
        (call,) = step.message.tool_calls
        arguments = call.arguments
        if self.is_native:
            return step
        if call.name == EDITOR and self.editor is not None:
            return _called(self.editor, arguments)
        if call.name == FINISH and (self.finish is not None or self.finish_command is None):
            return text_action("done") if self.finish is None else _called(self.finish, arguments)
        if self.shell is None:
            return text_action("done")
        if call.name == SHELL:
            return self._run(arguments)
        command = self.finish_command if call.name == FINISH else _as_command(arguments)
        return self._run({"command": command})

    def _run(self, arguments: Mapping[str, Any]) -> Action:
        assert self.shell is not None
        name = _command_argument(self.shell) or "command"
        is_list = _properties(self.shell)[name].get("type") == "array"
        command = ["bash", "-lc", arguments["command"]] if is_list else arguments["command"]
        # In which unit another shell counts its time, its schema does not say.
        kept = {key: value for key, value in arguments.items() if key != "timeout" or self.takes_input}
        return _called(self.shell, {**kept, name: command})


NATIVE_TOOLS = OfferedTools(is_native=True)
"""Those of `scaffold/`."""


def _properties(tool: ToolSpecification) -> dict[str, Mapping[str, Any]]:
    properties = tool.parameters.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {name: schema for name, schema in properties.items() if isinstance(schema, Mapping)}


def _command_argument(tool: ToolSpecification) -> str | None:
    """The argument that a shell runs; None: the tool is no shell, as far as its schema tells."""
    properties = _properties(tool)
    if "path" in properties:
        return None
    return next(
        (name for name in COMMAND_ARGUMENTS if "enum" not in properties.get(name, {"enum": ()})), None
    )


def _called(tool: ToolSpecification, arguments: Mapping[str, Any]) -> Action:
    """A call of `tool` with those of `arguments` that it knows, and something harmless for what else it requires."""
    properties = _properties(tool)
    required = tool.parameters.get("required")
    known = {
        name: value == "true" if properties[name].get("type") == "boolean" else value
        for name, value in arguments.items()
        if name in properties
    }
    missing = {
        name: _harmless(properties.get(name, {}))
        for name in (required if isinstance(required, list) else ())
        if name not in known
    }
    return call_action(tool.name, **known, **missing)


def _harmless(schema: Mapping[str, Any]) -> Any:
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    usual: Mapping[object, Any] = {"boolean": False, "integer": 0, "number": 0, "array": [], "object": {}}
    return usual.get(schema.get("type"), "done")


def _as_command(edit: Mapping[str, Any]) -> str:
    """What an editor does, as a line for a shell."""
    path = shlex.quote(edit["path"])
    if edit["command"] == "view":
        first, last = edit["view_range"]
        return f"cat -n {path} | sed -n '{first},{'$' if last < 0 else last}p'"
    if edit["command"] == "create":
        text: str = edit["file_text"]
        written = f"open({edit['path']!r}, 'w', newline='').write({text!r})"
        return _python(f"import os\nos.makedirs(os.path.dirname({edit['path']!r}), exist_ok=True)\n{written}")
    return _python(
        f"path = {edit['path']!r}\n"
        "text = open(path, newline='', errors='surrogateescape').read()\n"
        f"text = text.replace({edit['old_str']!r}, {edit['new_str']!r})\n"
        "open(path, 'w', newline='', errors='surrogateescape').write(text)"
    )


def _python(program: str) -> str:
    return f"python3 - <<'{END}'\n{program}\n{END}"
