"""A stranger's Python source as a libcst module, or a refusal: libcst's parser recurses without a limit of its own, and
nesting that is deep enough ends the whole process."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings

import libcst as cst

UNREADABLE = (cst.ParserSyntaxError, SyntaxError, ValueError, RecursionError, MemoryError)
"""What reading, changing or compiling a stranger's module may raise."""
LONGEST_SOURCE = 2 << 20
MOST_BRACKETS = 12
"""Around each other in what may be the pattern of a `case`, for which libcst takes twice as long with each."""
MOST_NESTED = 1000
"""Levels of nesting, and operands of one `and` or `or`: Python's parser bounds the former in some of its releases and
reads the latter in a loop, and libcst takes the square of both."""

_BETWEEN = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT}


def parse_source(source: str) -> cst.Module:
    """Raises one of UNREADABLE: it is no Python, or cannot be taken apart."""
    if len(source) > LONGEST_SOURCE:
        raise ValueError(f"a module of {len(source)} characters is too long to be taken apart")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level: list[ast.AST] = [ast.parse(source)]
    for _ in range(MOST_NESTED):
        for node in level:
            if isinstance(node, ast.BoolOp) and len(node.values) > MOST_NESTED:
                raise ValueError(
                    f"an expression of {len(node.values)} operands is too long to be taken apart"
                )
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            _refuse_deep_patterns(source)
            return cst.parse_module(source)
    raise ValueError(f"a module of more than {MOST_NESTED} levels is nested too deeply to be taken apart")


def _refuse_deep_patterns(source: str) -> None:
    """Raises ValueError: a line that begins with `case` has too many brackets around each other."""
    if re.search(r"^\s*case\b", source, flags=re.MULTILINE) is None:
        return
    is_case, is_first, depth = False, True, 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in _BETWEEN:
                is_first = is_first or token.type == tokenize.NEWLINE
                continue
            if is_first:
                is_case, is_first, depth = token.string == "case", False, 0
            if token.type == tokenize.OP:
                depth += (token.string in "([{") - (token.string in ")]}")
            if is_case and depth > MOST_BRACKETS:
                raise ValueError(f"line {token.start[0]}: a pattern is nested too deeply to be taken apart")
    except tokenize.TokenError as error:
        raise ValueError(f"it cannot be taken apart: {error}") from error
