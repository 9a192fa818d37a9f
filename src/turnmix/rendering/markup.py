"""Calls that a server left in the text of an answer, in the marks of any model family.

In: text. Out: the mark that gives it away. A mark in quotes or backquotes is spoken of, not left over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection

_TAGS = r"tool_?calls?|tool_code|tool_use|tool_request|function_?calls?|start_function_call|end_function_call"
_MARKUP = re.compile(
    rf"""
    (?<![`'"])(?:
        </?(?:[\w-]+:)?[|｜]?(?:{_TAGS})(?:[\s=][^<>\n]*)?[|｜]?>      # Hermes, MiniMax, Nemotron, Gemma, …
      | <(?:function|parameter|invoke)(?:=|\s+name=)[^<>\n]+> | </(?:function|invoke)>   # Qwen3-Coder, Llama, Anthropic
      | </?arg_(?:key|value)>                                           # GLM
      | <[|｜][\w▁:./-]{{1,40}}[|｜]                                     # control tokens: gpt-oss, Kimi, DeepSeek
      | <(?:start|end)_of_turn> | </s>
      | \[/?TOOL_(?:CALLS?|REQUEST|RESULTS?|CONTENT)\]? | \[ARGS\] | \[/?INST\]   # Mistral, LM Studio
      | ✿\w+✿
    )
    | ^```tool_(?:code|call)\b | ^Action:\ *\w+\ *\n+Action\ Input: | \bto=functions\.\w | ^functions\.\w+:\d+\s*[{{<]
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_FENCED = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)


def call_markup(text: str, tools: Collection[str]) -> str | None:
    """The first mark of a call in `text`, or the call itself where the text is nothing else; None: there is none.

    >>> call_markup('[TOOL_CALLS][{"name": "finish", "arguments": {}}]', ["finish"])
    '[TOOL_CALLS]'
    >>> call_markup('{"name": "finish", "parameters": {}}', ["finish"])
    '{"name": "finish", "parameters": {}}'
    >>> call_markup("The parser splits at `[TOOL_CALLS]`, and `a <| b` is a pipe.", ["finish"])
    """
    if found := _MARKUP.search(text):
        return found[0]
    whole = text.strip()
    if fenced := _FENCED.fullmatch(whole):
        whole = fenced[1].strip()
    return whole[:200] if _is_bare_call(whole, tools) else None


def _is_bare_call(text: str, tools: Collection[str]) -> bool:
    """Whether a text is only a call: as JSON, or as `[name(argument="…")]`."""
    if named := re.match(r"\[(\w+)\(.*\)\]$", text, re.DOTALL):
        return named[1] in tools
    if not text.startswith(("{", "[")):
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    calls = value if isinstance(value, list) else [value]
    return any(isinstance(call, dict) and call.get("name") in tools for call in calls if _has_text_name(call))


def _has_text_name(call: object) -> bool:
    return (
        isinstance(call, dict)
        and isinstance(call.get("name"), str)
        and bool({"arguments", "parameters"} & call.keys())
    )
