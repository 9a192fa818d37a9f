"""All methods by name, and the table of them that the README prints."""

from __future__ import annotations

from collections.abc import Mapping

from turnmix.methods.aggrevate import AGGREVATE
from turnmix.methods.dagger import DAGGER
from turnmix.methods.grpo import GRPO
from turnmix.methods.method import Method
from turnmix.methods.oec import OEC
from turnmix.methods.opd import OPD
from turnmix.methods.sft import SFT

METHODS: Mapping[str, Method] = {method.name: method for method in (SFT, GRPO, OPD, DAGGER, AGGREVATE, OEC)}


def methods_table() -> str:
    """The methods as a Markdown table, a row each."""
    rows = [f"| {m.title} (`{m.name}`) | {m.acts} | {m.taught} | {m.weight} |" for m in METHODS.values()]
    head = ["| method | who acts | what is taught | token weight |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])
