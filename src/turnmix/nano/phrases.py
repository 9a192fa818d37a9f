"""Phrases of the scaffold that never vary: one token each, so that a laptop's contexts stay short.

Names, numbers and code are never part of a phrase: they keep one tokenisation wherever they stand.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.json_text import json_text
from turnmix.core.message import ToolSpecification

CALLS = (
    '\n{"name": "execute_bash", "arguments": {"command": "',
    '\n{"name": "execute_bash", "arguments": {"command": "python3 run_tests.py"}}\n',
    '\n{"name": "execute_bash", "arguments": {"command": "grep -rn \\"def ',
    '\n{"name": "execute_bash", "arguments": {"command": "sed -i \'',
    '\n{"name": "execute_bash", "arguments": {"command": "git checkout ',
    '\n{"name": "execute_bash", "arguments": {"command": "cd /testbed && ',
    '\n{"name": "execute_bash", "arguments": {"command": "C-c", "is_input": "true"}}\n',
    '\n{"name": "str_replace_editor", "arguments": {"command": "view", "path": "/testbed/',
    '\n{"name": "finish", "arguments": {"message": "done"}}\n',
    '.py", "view_range": [',
    ", -1]}}\n",
    '\\" ."}}\n',
    '.py"}}\n',
    "' ",
    "c\\\\",
)
ROLES = ("assistant\n", "user\n", "system\n")
TEMPLATE = (
    "\n\n# Tools\n\nThe functions you may call:\n<tools>\n",
    "</tools>\n\nWrite each call as JSON with name and arguments between <tool_call> and </tool_call>.",
)
STATUS = (
    *(
        f"[Current working directory: /testbed]\n[Command finished with exit code {code}]\n"
        for code in range(3)
    ),
    *ROLES,
    " AssertionError\n",
    "FAIL test_",
    " failed, ",
    " passed\n",
    "./",
    ".py:",
    ":def ",
)


def make_phrases(prompt_texts: Sequence[str], tools: Sequence[ToolSpecification]) -> list[str]:
    """The fixed texts of prompts, of tool specifications as a chat template writes them, of calls and of answers."""
    return [*_fixed(prompt_texts, tools), *CALLS, *STATUS]


def world_phrases(prompt_texts: Sequence[str], tools: Sequence[ToolSpecification]) -> list[str]:
    """The same of a text world, whose tool takes texts. Of its prompts the system's alone is fixed."""
    calls = [
        f'\n{{"name": "{tool.name}", "arguments": {{"{argument}": "'
        for tool in tools
        for argument in tool.parameters["properties"]
    ]
    return [*_fixed(prompt_texts[:1], tools), *calls, '"}}\n', *ROLES]


def _fixed(prompt_texts: Sequence[str], tools: Sequence[ToolSpecification]) -> list[str]:
    specifications = [json_text(tool.to_json(), ensure_ascii=False) + "\n" for tool in tools]
    return [*prompt_texts, *TEMPLATE, *specifications]
