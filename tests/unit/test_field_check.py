"""A field of a core type that code of a user's own fills with something else is refused where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import Action, State, StopReason
from turnmix.environments.environment import Step

SAID = Message(role="user", content="x")
LOOSE: Any = None
"""What no type checker has seen."""


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Message(role="user", content=LOOSE), "Message.content: None: give a str"),
        (
            lambda: Message(role=LOOSE or "observer", content="x"),
            "Message.role: 'observer': give one of system",
        ),
        (lambda: State(messages=LOOSE or "go", tools=()), "State.messages: 'go': give a tuple of Message"),
        (lambda: State(messages=(SAID,), tools=LOOSE), "State.tools: None: give a tuple of ToolSpec"),
        (
            lambda: State(messages=LOOSE or ({},), tools=()),
            "State.messages: {} in it: give a tuple of Message",
        ),
        (lambda: Step(observation=LOOSE or SAID), "Step.observation: Message"),
        (lambda: Step(observation=(), stop_reason=LOOSE or "won"), "Step.stop_reason: 'won': give None"),
        (lambda: Step(observation=(), stop_reason=StopReason.infra_error), "raise an InfrastructureError"),
        (lambda: Action(message=LOOSE or "go"), "Action.message: 'go': give a Message"),
        (lambda: Task(id=LOOSE or 3, problem_statement="x"), "Task.id: 3: give a str"),
        (lambda: ToolSpecification(name="a", description="b", parameters=LOOSE), "parameters: None: give a"),
    ],
)
def test_a_field_of_another_kind_is_refused_by_its_name(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        make()


def test_lists_and_the_name_of_a_stop_reason_do_as_well() -> None:
    step = Step(observation=LOOSE or [SAID], stop_reason=LOOSE or "finished")
    assert step == Step(observation=(SAID,), stop_reason=StopReason.finished)
    assert step.stop_reason is StopReason.finished
    assert State(messages=LOOSE or [SAID], tools=LOOSE or []) == State(messages=(SAID,), tools=())
