"""Trajectories made by hand, for tests of what is done with them."""

from dataclasses import replace

from turnmix.core.message import Message
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.policies.scripted import text_action

RESOLVED = patch_verdict(resolved=True, submitted=True, passed=1, failed=0)


def labelled_turn(actor, action, label=None, *, tokens=None):
    """A turn; on a teacher turn the label is the action. Text stands for the action that says it."""
    executed = action if isinstance(action, Action) else text_action(action)
    executed = replace(executed, completion_tokens=tokens)
    if actor == "teacher":
        label = executed
    elif isinstance(label, str):
        label = text_action(label)
    observation = (Message(role="user", content="go on"),)
    return Turn(actor=actor, action=executed, observation=observation, label=label)


def trajectory(trajectory_id, *turns, verdict=RESOLVED, stop_reason=StopReason.finished):
    return Trajectory(
        id=trajectory_id,
        task_id="task",
        iteration=1,
        seed=0,
        tools=(),
        prompt=(Message(role="user", content="problem"),),
        turns=turns,
        stop_reason=stop_reason,
        verdict=verdict,
    )
