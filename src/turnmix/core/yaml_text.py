"""In: a text that somebody else may have written as YAML. Out: a plain value, or a complaint in words.

Bounded are its nesting, the values that it holds with every alias unfolded, its keys and its numbers: whoever walks
over the value, or shows it, comes to an end.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_SURROGATE = re.compile("[\ud800-\udfff]")
MOST_LEVELS = 50
MOST_VALUES = 20_000
LONGEST_KEY = 200
LONGEST_NUMBER = 40


def yaml_value(text: str) -> Any:
    """The value that a YAML text says.

    Raises:
        ValueError: it is no YAML, goes beyond a bound, or gives a key twice; the message names the line.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" at line {error.problem_mark.line + 1}"
        raise ValueError(f"not valid YAML{line}: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = f" at line {text.count(chr(10), 0, error.position) + 1}"
        raise ValueError(f"not valid YAML{line}: the character U+{error.character:04X}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, which YAML would silently let the last one win, and what has no end."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._levels = 0
        self._sizes: dict[int, int] = {}
        """Of each node: itself and all below it, aliases unfolded."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if self._levels == MOST_LEVELS:
            raise _refusal(f"nested more than {MOST_LEVELS} levels deep", mark)
        if len(self._sizes) == MOST_VALUES:
            raise _refusal(f"more than {MOST_VALUES:,} values", mark)
        if _SURROGATE.search(getattr(event, "value", None) or ""):
            raise _refusal("half of a surrogate pair", mark)
        is_alias = self.check_event(yaml.AliasEvent)
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        # What an alias names may still be under way, and then has no size yet: it would have no end.
        if node is not None and not is_alias:
            below = (each for child in _children(node) for each in child)
            size = 1 + sum(self._sizes.get(id(each), MOST_VALUES) for each in below)
            if size > MOST_VALUES:
                raise _refusal(f"it unfolds to more than {MOST_VALUES:,} values", node.start_mark)
            self._sizes[id(node)] = size
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except yaml.YAMLError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            raise _refusal(f"what stands there is no {kind}", node.start_mark) from error

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > LONGEST_NUMBER:
            raise _refusal(f"a number of {len(node.value):,} digits", node.start_mark)
        return super().construct_yaml_int(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refusal("a key is a plain word, not a list or a mapping", key_node.start_mark)
            if len(key_node.value) > LONGEST_KEY:
                raise _refusal(f"a key of {len(key_node.value):,} characters", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _refusal(f"the key {key!r} is given twice: keep one", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _children(node: yaml.Node) -> list[tuple[yaml.Node, ...]]:
    if isinstance(node, yaml.MappingNode):
        return list(node.value)
    return [(each,) for each in node.value] if isinstance(node, yaml.SequenceNode) else []


def _refusal(problem: str, mark: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)
