"""What minirepo functions look like: a docstring, its correct body, and the kinds of its arguments.

A template is text with the names of its parameters as placeholders; `Template.write` binds them. Bodies hold
no string literals and no single quotes, so that any line can be typed inside quotes in a shell.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from turnmix.environments.minirepo.kinds import NAMES


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of function."""

    verbs: tuple[str, ...]
    """First word of its name."""
    parameters: tuple[str, ...]
    """Kinds, in order; `count=2` gives a default."""
    docstring: str
    body: str

    def kinds(self) -> tuple[str, ...]:
        return tuple(parameter.partition("=")[0] for parameter in self.parameters)

    def write(self, name: str, generator: random.Random) -> str:
        """Source of one function, with parameter names drawn from NAMES."""
        bound = {kind: generator.choice(NAMES[kind]) for kind in self.kinds()}
        signature = ", ".join(
            bound[parameter.partition("=")[0]] + "".join(parameter.partition("=")[1:])
            for parameter in self.parameters
        )
        lines = [f"def {name}({signature}):", f'    """{self.docstring.format(**bound)}"""']
        lines += ["    " + line for line in self.body.format(**bound).splitlines()]
        return "\n".join(lines) + "\n"


TEMPLATES: tuple[Template, ...] = (
    Template(
        ("add", "combine"), ("number", "other"), "Return {number} plus {other}.", "return {number} + {other}"
    ),
    Template(
        ("subtract", "reduce"),
        ("number", "other"),
        "Return {number} minus {other}.",
        "return {number} - {other}",
    ),
    Template(
        ("multiply", "scale"),
        ("number", "other"),
        "Return {number} times {other}.",
        "return {number} * {other}",
    ),
    Template(
        ("clamp", "limit"),
        ("number", "low", "high"),
        "Return {number}, but at least {low} and at most {high}.",
        "if {number} < {low}:\n    return {low}\nif {number} > {high}:\n    return {high}\nreturn {number}",
    ),
    Template(
        ("check", "test"),
        ("number", "low", "high"),
        "Return whether {number} is at least {low} and at most {high}.",
        "return {number} >= {low} and {number} <= {high}",
    ),
    Template(
        ("exclude", "reject"),
        ("number", "low", "high"),
        "Return whether {number} is less than {low} or greater than {high}.",
        "return {number} < {low} or {number} > {high}",
    ),
    Template(
        ("count", "tally"),
        ("numbers", "low"),
        "Return how many of {numbers} are greater than {low}.",
        "total = 0\nfor item in {numbers}:\n    if item > {low}:\n        total += 1\nreturn total",
    ),
    Template(
        ("filter", "select"),
        ("numbers", "high"),
        "Return the {numbers} that are less than {high}.",
        "return [item for item in {numbers} if item < {high}]",
    ),
    Template(
        ("keep", "retain"),
        ("numbers", "low"),
        "Return the {numbers} that are at least {low}.",
        "return [item for item in {numbers} if item >= {low}]",
    ),
    Template(
        ("take", "head"),
        ("numbers", "count"),
        "Return the first {count} of {numbers}.",
        "return {numbers}[:{count}]",
    ),
    Template(
        ("drop", "skip"),
        ("numbers", "count"),
        "Return {numbers} without the first {count}.",
        "return {numbers}[{count}:]",
    ),
    Template(
        ("tail", "trailing"),
        ("numbers", "count"),
        "Return the last {count} of {numbers}.",
        "return {numbers}[-{count}:]",
    ),
    Template(("first", "front"), ("numbers",), "Return the first of {numbers}.", "return {numbers}[0]"),
    Template(("last", "final"), ("numbers",), "Return the last of {numbers}.", "return {numbers}[-1]"),
    Template(
        ("sum", "total"),
        ("numbers", "other=0"),
        "Return the sum of {numbers} plus {other}, which is 0 by default.",
        "total = {other}\nfor item in {numbers}:\n    total += item\nreturn total",
    ),
    Template(
        ("repeat", "copy"),
        ("words", "count=2"),
        "Return {words} repeated {count} times, 2 by default.",
        "return {words} * {count}",
    ),
    Template(
        ("shift", "move"),
        ("numbers", "other=1"),
        "Return {numbers} with {other} added to each, 1 by default.",
        "return [item + {other} for item in {numbers}]",
    ),
    Template(
        ("spread", "range"),
        ("numbers",),
        "Return the largest of {numbers} minus the smallest.",
        "largest = max({numbers})\nsmallest = min({numbers})\nreturn largest - smallest",
    ),
    Template(
        ("largest", "best"),
        ("numbers", "other"),
        "Return the largest of {numbers} and {other}.",
        "return max(max({numbers}), {other})",
    ),
    Template(
        ("smallest", "worst"),
        ("numbers", "other"),
        "Return the smallest of {numbers} and {other}.",
        "return min(min({numbers}), {other})",
    ),
    Template(
        ("find", "locate"),
        ("words", "word"),
        "Return the index of {word} in {words}, or -1 without it.",
        "for index in range(len({words})):\n    if {words}[index] == {word}:\n        return index\nreturn -1",
    ),
    Template(
        ("remove", "erase"),
        ("words", "word"),
        "Return the {words} that are not {word}.",
        "return [item for item in {words} if item != {word}]",
    ),
    Template(
        ("contains", "has"),
        ("words", "word"),
        "Return whether {word} is one of {words}.",
        "return {word} in {words}",
    ),
    Template(
        ("append", "extend"),
        ("words", "word"),
        "Return {words} with {word} at the end.",
        "return {words} + [{word}]",
    ),
    Template(
        ("prepend", "lead"),
        ("words", "word"),
        "Return {words} with {word} at the start.",
        "return [{word}] + {words}",
    ),
    Template(
        ("shout", "upper"),
        ("words",),
        "Return {words} in upper case.",
        "return [item.upper() for item in {words}]",
    ),
    Template(
        ("order", "sort"),
        ("numbers",),
        "Return {numbers} from smallest to largest.",
        "return sorted({numbers})",
    ),
    Template(
        ("rank", "descend"),
        ("numbers",),
        "Return {numbers} from largest to smallest.",
        "return sorted({numbers}, reverse=True)",
    ),
    Template(
        ("choose", "pick"),
        ("flag", "number", "other"),
        "Return {number} if {flag}, else {other}.",
        "if {flag}:\n    return {number}\nreturn {other}",
    ),
    Template(
        ("difference", "gap"),
        ("number", "other"),
        "Return {number} minus {other}, or 0 if that is negative.",
        "result = {number} - {other}\nif result < 0:\n    return 0\nreturn result",
    ),
    Template(
        ("match", "align"),
        ("numbers", "others"),
        "Return the pairs of {numbers} and {others} added up.",
        "return [left + right for left, right in zip({numbers}, {others})]",
    ),
    Template(
        ("weigh", "product"),
        ("numbers", "others"),
        "Return the sum of {numbers} times {others}, pair by pair.",
        "total = 0\nfor left, right in zip({numbers}, {others}):\n    total += left * right\nreturn total",
    ),
    Template(
        ("join", "concat"),
        ("numbers", "others"),
        "Return {numbers} followed by {others}.",
        "return {numbers} + {others}",
    ),
    Template(
        ("average", "mean"),
        ("numbers", "other"),
        "Return the sum of {numbers} divided by their number, or {other} without any.",
        "if len({numbers}) == 0:\n    return {other}\nreturn sum({numbers}) // len({numbers})",
    ),
    Template(("even", "parity"), ("number",), "Return whether {number} is even.", "return {number} % 2 == 0"),
    Template(("twice", "double"), ("number",), "Return {number} times 2.", "return {number} * 2"),
    Template(("next", "bump"), ("number",), "Return {number} plus 1.", "return {number} + 1"),
    Template(
        ("power", "square"),
        ("number",),
        "Return {number} times itself.",
        "return {number} * {number}",
    ),
    Template(
        ("swap", "flip"),
        ("number", "other"),
        "Return {other} and {number}, in this order.",
        "return [{other}, {number}]",
    ),
    Template(
        ("span", "slice"),
        ("words", "low=0", "high=3"),
        "Return {words} from index {low} to before {high}, 0 and 3 by default.",
        "return {words}[max({low}, 0):{high}]",
    ),
)

NOUNS = (
    "apples", "books", "chairs", "doors", "engines", "flags", "gates", "houses", "inks", "jars", "kites", "lamps",
    "maps", "nails", "oars", "pens", "quilts", "roads", "ships", "trees", "urns", "vans", "wheels", "yards",
    "bags", "coins", "drums", "eggs", "forks", "grains", "hats", "irons", "jewels", "keys", "leaves", "mills",
    "notes", "orders", "plums", "queues", "ropes", "stones", "tiles", "units", "vines", "walls", "boxes", "zones",
)  # fmt: skip

MODULES = (
    "ledger", "basket", "garden", "harbor", "kitchen", "library", "market", "office", "parade", "quarry",
    "river", "stable", "tavern", "village", "workshop", "archive", "bridge", "castle", "depot", "factory",
)  # fmt: skip
