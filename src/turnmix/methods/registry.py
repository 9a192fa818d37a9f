"""All methods by name, methods of the user's own too, and the table of them that the README prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from turnmix.core.errors import UserError
from turnmix.core.field_check import truth
from turnmix.core.plugins import is_plugin_name, load_plugin, loaded_plugin, telling_faults
from turnmix.core.trajectory import State, Trajectory
from turnmix.core.transition import Transition
from turnmix.methods.aggrevate import AGGREVATE
from turnmix.methods.dagger import DAGGER
from turnmix.methods.gkd import GKD
from turnmix.methods.grpo import GRPO
from turnmix.methods.guided_opd import GUIDED_OPD
from turnmix.methods.method import Method, Taught
from turnmix.methods.oec import OEC
from turnmix.methods.on_policy_labels import ON_POLICY_LABELS
from turnmix.methods.opd import OPD
from turnmix.methods.reopd import REOPD
from turnmix.methods.sft import SFT
from turnmix.methods.tcod import TCOD_BACKWARD, TCOD_FORWARD
from turnmix.rollout.labels import LabelGate
from turnmix.training.objective_settings import ObjectiveSettings

_ALL = (
    *(SFT, GRPO, OPD, DAGGER, AGGREVATE, OEC),
    *(ON_POLICY_LABELS, GUIDED_OPD, TCOD_FORWARD, TCOD_BACKWARD, REOPD, GKD),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}
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


def known_method(name: str) -> Method | None:
    """The method of this name, where nothing need be imported for it."""
    found = METHODS.get(name) or (loaded_plugin(name) if is_plugin_name(name) else None)
    return found if isinstance(found, Method) else None


def label_gate(name: str) -> bool | LabelGate:
    """Whether the method asks for labels in the student's states, or the gate that says in which; its mistakes are told
    as those of who wrote it."""
    label = find_method(name).label
    if isinstance(label, bool):
        return label

    def is_asked(state: State) -> bool:
        with telling_faults(name):
            return truth(label(state), field="the answer of label(state)")

    return is_asked


def teach(name: str, trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    """What the method teaches of them.

    Raises:
        PluginError: it is one of the user's own, and fails.
    """
    method = find_method(name)
    with telling_faults(name):
        taught = method.transitions(trajectories, objective)
        if not isinstance(taught, Taught):
            raise TypeError(f"transitions(...) returned {type(taught).__name__}: it must return a Taught")
        for each in taught.transitions:
            _check_transition(each)
    return taught


def _check_transition(item: Transition) -> None:
    """Raises ValueError: its weights are none."""
    weights = item.weight if isinstance(item.weight, tuple) else (item.weight,)
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in weights):
        raise ValueError(
            f"{item.trajectory_id}: weight {item.weight!r}: give one finite number, or one a token"
        )
    token_ids = item.target.token_ids
    if isinstance(item.weight, tuple) and token_ids is not None and len(weights) != len(token_ids):
        raise ValueError(f"{item.trajectory_id}: {len(weights)} weights for {len(token_ids)} tokens")


def methods_table(methods: Iterable[Method] = tuple(METHODS.values())) -> str:
    """The methods as a Markdown table, a row each."""
    rows = [f"| {m.title or m.name} (`{m.name}`) | {m.acts} | {m.taught} | {m.weight} |" for m in methods]
    head = ["| method | who acts | what is taught | token weight |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])
