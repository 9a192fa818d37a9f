"""All methods by name, methods of the user's own too, and the table of them that the README prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from turnmix.core.errors import UserError
from turnmix.core.plugins import load_plugin
from turnmix.methods.aggrevate import AGGREVATE
from turnmix.methods.dagger import DAGGER
from turnmix.methods.grpo import GRPO
from turnmix.methods.method import Method
from turnmix.methods.oec import OEC
from turnmix.methods.opd import OPD
from turnmix.methods.sft import SFT

METHODS: Mapping[str, Method] = {method.name: method for method in (SFT, GRPO, OPD, DAGGER, AGGREVATE, OEC)}
"""Those that come with the package."""


def find_method(name: str) -> Method:
    """The method of this name: one of `METHODS`, or a `Method` object of the user's own, `package.module:NAME`.

    Raises:
        UserError: there is none.
    """
    if name in METHODS:
        return METHODS[name]
    found = load_plugin(name, field="method")
    if not isinstance(found, Method):
        raise UserError(
            f"method: {name!r}: is {type(found).__name__}, not a method: name an object made by "
            "turnmix.methods.method.Method(...)"
        )
    return found


def methods_table(methods: Iterable[Method] = tuple(METHODS.values())) -> str:
    """The methods as a Markdown table, a row each."""
    rows = [f"| {m.title} (`{m.name}`) | {m.acts} | {m.taught} | {m.weight} |" for m in methods]
    head = ["| method | who acts | what is taught | token weight |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])
