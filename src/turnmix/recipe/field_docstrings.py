"""What each setting means: the docstring under its field, read from the source of its class.

In: a settings class. Out: text by field. Only who asks for an explanation pays for reading the source:
pydantic's own `use_attribute_docstrings` would do it at every import of the class.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from types import ModuleType

from turnmix.core.settings import Settings


def field_docstrings(settings: type[Settings]) -> dict[str, str]:
    """Of the class and those it inherits from; a field without a docstring, or without its source, is left out."""
    found: dict[str, str] = {}
    for owner in reversed(settings.__mro__):
        if owner.__module__ in sys.modules and issubclass(owner, Settings):
            found |= _module_docstrings(sys.modules[owner.__module__]).get(owner.__qualname__, {})
    return {name: found[name] for name in settings.model_fields if name in found}


@cache
def _module_docstrings(module: ModuleType) -> dict[str, dict[str, str]]:
    """By class, then by field, of the classes at the top of a module."""
    try:
        source = inspect.getsource(module)
    except OSError:
        return {}
    return {node.name: _in_class(node) for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def _in_class(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:]):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found
