"""What sort of step an action in a minirepo is. In: an action, of whatever a model writes. Out: a word.

>>> from turnmix.policies.scripted import call_action, text_action
>>> step_kind(call_action("execute_bash", command="cd /testbed && git checkout pens.py"))
'restore'
>>> step_kind(call_action("str_replace_editor", command="view", path="/testbed/pens.py"))
'view'
>>> step_kind(text_action("I am done."))
'malformed'
"""

from __future__ import annotations

import re

from turnmix.core.trajectory import Action
from turnmix.environments.minirepo.repository import TEST_COMMAND

STEP_KINDS = ("view", "search", "edit", "restore", "remove", "test", "finish", "other", "malformed")
_EDITOR = {"view": "view", "undo_edit": "restore", "create": "edit", "str_replace": "edit", "insert": "edit"}
_SHELL = {
    TEST_COMMAND: "test",
    "grep ": "search",
    "sed -i": "edit",
    "git checkout": "restore",
    "git restore": "restore",
    "cat ": "view",
    "rm ": "remove",
}
"""By how a command begins."""
_DIRECTORY = re.compile(r"^\s*cd [^;&|\n]* && ")
_WRITTEN = re.compile(r"cat\s*>|(?:^|;)\s*cat\s+[^\n]*>")


def step_kind(action: Action) -> str:
    """Of an action with several calls: that of the last."""
    calls = action.message.tool_calls
    if action.parse_error is not None or not calls:
        return "malformed"
    command = str(calls[-1].arguments.get("command", ""))
    if calls[-1].name == "finish":
        return "finish"
    if calls[-1].name == "str_replace_editor":
        return _EDITOR.get(command, "other")
    if calls[-1].name != "execute_bash":
        return "other"
    command = _DIRECTORY.sub("", command[:2000])
    if _WRITTEN.search(command):
        return "edit"
    return next((kind for start, kind in _SHELL.items() if command.startswith(start)), "other")
