"""A stranger's Python source as a libcst module, or a refusal: libcst's parser recurses without a limit of its own, and
nesting that is deep enough ends the whole process."""

from __future__ import annotations

import ast
import warnings

import libcst as cst

UNREADABLE = (cst.ParserSyntaxError, SyntaxError, ValueError, RecursionError, MemoryError)
"""What reading, changing or compiling a stranger's module may raise."""
LONGEST_SOURCE = 2 << 20
MOST_OPERANDS = 1000
"""Of one `and` or `or`: Python's parser, which counts its recursion, reads these in a loop, and libcst's does not."""


def parse_source(source: str) -> cst.Module:
    """Raises one of UNREADABLE: it is no Python, or cannot be taken apart."""
    if len(source) > LONGEST_SOURCE:
        raise ValueError(f"a module of {len(source)} characters is too long to be taken apart")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.BoolOp) and len(node.values) > MOST_OPERANDS:
            raise ValueError(f"an expression of {len(node.values)} operands is too long to be taken apart")
    return cst.parse_module(source)
