"""Calls that a server left in the text of an answer, in the marks of any model family.

In: text. Out: the mark that gives it away. A mark in quotes or backquotes is spoken of, not left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from turnmix.rendering.thinking import MARKS

_THINKING = frozenset(mark for marks in MARKS for mark in marks)
_TAGS = r"tool_?calls?|tool_code|tool_use|tool_request|function_?calls?|start_function_call|end_function_call"
_MARKUP = re.compile(
    rf"""
    (?<![`'"])(?:
        </?(?:[\w-]+:)?[|｜]?(?:{_TAGS})(?:[\s=][^<>\n]*)?[|｜]?>      # Hermes, MiniMax, Nemotron, Gemma, …
      | <(?:function|parameter|invoke)(?:=|\s+name=)[^<>\n]+> | </(?:function|invoke)>   # Qwen3-Coder, Llama, Anthropic
      | <tool_call\Z | <[\w-]+:invoke(?:\s[^<>\n]*)?>
      | </?arg_(?:key|value)>                                           # GLM
      | <[|｜][\w▁:./-]{{1,40}}[|｜]>?                                   # control tokens: gpt-oss, Kimi, DeepSeek
      | <(?:start|end)_of_turn> | </s>
      | (?-i: \[/?TOOL_(?:CALLS?|REQUEST|RESULTS?|CONTENT)\]?          # Mistral, LM Studio: capitals alone, as any
        | \[ARGS\](?=\s*\{{) | (?<!\w)\[/?INST\] )                     # language has x[args] and a usage has [ARGS]
      | ✿\w+✿
    )
    | ^```tool_(?:code|call)\b | ^Action:\ *\w+\ *\n+Action\ Input: | \bto=functions\.\w | ^functions\.\w+:\d+\s*[{{<]
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_CODE = re.compile(
    r"""
      ^[ ]{0,3}(`{3,})(?!json|xml|tool|text)[^\s`][^`\n]*\n.*?^[ ]{0,3}\1`*[ \t]*$     # a block, of a language
    | (?<!`)(?P<span>`{1,2})(?!`)[^`\n]+(?P=span)(?!`)                             # within a line
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_STRUCK_OUT = re.compile(r"(?<=\s)<s>[^<\n]+</s>")
_KEYS = "arguments|parameters|input|args"
_NAME_KEYS = "name|tool|tool_name|function|recipient_name"
_CACHED_TOOL_SETS = 16
_LONGEST_ARGUMENTS = 2_000
_SHOWN = 200


def without_code(text: str) -> str:
    """`text` less the code that it shows: what stands there is spoken of. A block that names no programming language
    stays, as a call may stand in it.

    >>> without_code("Like `f(<|x|>)`:\\n```python\\ns = '[INST]'\\n```\\nThen on.")
    'Like ``:\\n\\nThen on.'
    """
    return _CODE.sub(lambda found: "``" if found["span"] else "", text)


def call_markup(text: str, tools: Iterable[str]) -> str | None:
    """The first mark of a call in `text`, or the beginning of a call of one of `tools`; None: there is none.

    >>> call_markup('[TOOL_CALLS][{"name": "finish", "arguments": {}}]', ["finish"])
    '[TOOL_CALLS]'
    >>> call_markup('I end. {"name": "finish", "parameters": {}}', ["finish"])
    '"name": "finish", "parameters":'
    >>> call_markup("The parser splits at `[TOOL_CALLS]`, and `a <| b` is a pipe.", ["finish"])
    """
    text = _STRUCK_OUT.sub("", text)
    found = _MARKUP.search(text)
    return named_call(text, tools) if found is None else found[0][:_SHOWN]


def named_call(text: str, tools: Iterable[str]) -> str | None:
    """The beginning of a call of one of `tools` that has no mark but its name; None: there is none."""
    found = _calls_of(frozenset(tools)).search(text)
    return None if found is None else found[0][:_SHOWN]


@lru_cache(maxsize=_CACHED_TOOL_SETS)
def _calls_of(tools: frozenset[str]) -> re.Pattern[str]:
    """Finds calls that have no mark but the name of their tool: as JSON, as a tag, or as `name(argument="…")`
    on a line of its own."""
    names = "|".join(map(re.escape, sorted(tools))) or "(?!)"
    tags = "|".join(re.escape(name) for name in sorted(tools) if f"<{name}>" not in _THINKING) or "(?!)"
    name = rf"""["'](?:{_NAME_KEYS})["']\s*:\s*["'](?:functions\.)?(?:{names})["']"""
    other = r"""["']\w+["']\s*:\s*(?:"[^"]*"|\d+|null)"""
    return re.compile(
        rf"""
          {name}(?:\s*,\s*{other}){{0,8}}\s*,\s*["'](?:{_KEYS})["']\s*:
        | ["'](?:{_KEYS})["']\s*:\s*(?:\{{.{{0,{_LONGEST_ARGUMENTS}}}\}}|"[^"]*")\s*,\s*{name}
        | ^[ \t]*</?(?:{tags})(?:\s[^<>\n]*)?> | (?<![`'"])<(?P<tag>{tags})>.*?</(?P=tag)>
        | ^[ \t]*\[?(?:functions\.)?(?:{names})\((?:\w+\s*=.*)?\)\]?[ \t]*$
        """,
        re.VERBOSE | re.DOTALL | re.MULTILINE,
    )
