"""Experts that are asked for their plan in each state: a world's own planner, or code of the user's.

An environment asks once in each state and shows the answer as its privileged view; the policy does what it reads there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, ValidationInfo

from turnmix.core.doors import own_code
from turnmix.core.plugins import load_plugin, telling_faults
from turnmix.core.trajectory import Action, State
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action, text_action

Call: TypeAlias = tuple[str, Mapping[str, Any]]
"""A tool and its arguments."""
Plan: TypeAlias = Call | str | None
"""What to call or to say now; None: nothing helps."""
Answer = TypeVar("Answer")


def _is_there(name: str | None, info: ValidationInfo) -> str | None:
    return None if name is None else own_code(name, info, section="tasks")


OwnExpert = Annotated[str | None, AfterValidator(_is_there)]
"""A setting that names code of the user's, package.module:Name, which makes a function for each episode."""


def asked_expert(name: str, begun: Any, *, form: Callable[[Any], Answer]) -> Callable[[Any], Answer | None]:
    """The user's expert `name` of an episode that has `begun` so: what it answers in a state, brought to its form.

    Raises:
        PluginError: it fails, or gives what has no such form; so does what is returned.
    """
    with telling_faults(name):
        asked = load_plugin(name, field="tasks.expert")(begun)

    def ask(state: Any) -> Answer | None:
        with telling_faults(name):
            answer = asked(state)
            return None if answer is None else form(answer)

    return ask


def call_of(answer: Any) -> Call:
    tool, arguments = answer
    return str(tool), dict(arguments)


def planner_policy() -> ScriptedPolicy:
    """Does what the environment's privileged view plans."""
    return ScriptedPolicy("planner", _planned)


def _planned(episode: Episode, state: State) -> Action:
    plan: Plan = episode.privileged_view()
    if plan is None:
        return text_action("It cannot be done any more.")
    return text_action(plan) if isinstance(plan, str) else call_action(plan[0], **plan[1])
