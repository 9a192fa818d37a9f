"""In: trajectories. Out: rows of OpenAI messages and tools, as TRL and `data.messages` read them.

A row is an executed path, all of whose assistant messages are to be learned but those with `weight` 0; or a prompt and
a completion, of which the completion is to be learned: the teacher's action in one visited state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from turnmix.core.message import Message
from turnmix.core.trajectory import Trajectory
from turnmix.core.untaught import Untaught
from turnmix.methods.targets import executed_action, imitate, teacher_label


def path_row(trajectory: Trajectory) -> dict[str, Any]:
    """What was executed. What no student should learn, such as a call that could not be read, or an accident, has
    `weight` 0."""
    untaught = {each.turn for each in imitate([trajectory], executed_action).untaught}
    untaught |= {index for index, turn in enumerate(trajectory.turns) if turn.actor == "accident"}
    messages = [message.to_json() for message in trajectory.prompt]
    for index, turn in enumerate(trajectory.turns):
        weight = {"weight": 0} if index in untaught else {}
        messages.append({**turn.action.message.to_json(), **weight})
        messages += [_as_seen(message) for message in turn.observation]
    return {
        "messages": messages,
        **_about(trajectory),
        "actors": [turn.actor for turn in trajectory.turns],
    }


def label_rows(trajectory: Trajectory) -> tuple[list[dict[str, Any]], tuple[Untaught, ...]]:
    """A row for each label that a student may learn; and those that none should."""
    taught = imitate([trajectory], teacher_label)
    num_given = len(trajectory.prompt)
    turn_at = {}
    for index, turn in enumerate(trajectory.turns):
        turn_at[num_given] = index
        num_given += 1 + len(turn.observation)
    rows = [
        {
            "prompt": [message.to_json() for message in each.state.messages],
            "completion": [each.target.message.to_json()],
            **_about(trajectory),
            "turn": turn_at[len(each.state.messages)],
            "actor": trajectory.turns[turn_at[len(each.state.messages)]].actor,
        }
        for each in taught.transitions
    ]
    return rows, taught.untaught


def _as_seen(message: Message) -> dict[str, Any]:
    """A message between actions. An assistant's is one that was seen and not learned."""
    return {**message.to_json(), **({"weight": 0} if message.role == "assistant" else {})}


def _about(trajectory: Trajectory) -> dict[str, Any]:
    verdict = trajectory.verdict
    return {
        "tools": [tool.to_json() for tool in trajectory.tools],
        "trajectory_id": trajectory.id,
        "task_id": trajectory.task_id,
        "iteration": trajectory.iteration,
        "stop_reason": trajectory.stop_reason.value,
        "resolved": None if verdict is None else verdict.resolved,
        "reward": None if verdict is None else verdict.reward,
    }


def all_label_rows(trajectories: Iterator[Trajectory], untaught: list[Untaught]) -> Iterator[dict[str, Any]]:
    """The rows of all; what none should learn is added to `untaught`."""
    for trajectory in trajectories:
        rows, left_out = label_rows(trajectory)
        untaught += left_out
        yield from rows
