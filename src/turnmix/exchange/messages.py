"""In: trajectories. Out: rows of OpenAI messages and tools, as TRL and `data.messages` read them.

A row is an executed path, one of a trajectory's lines of turns, all of whose assistant messages are to be learned but
those with `weight` 0; or a prompt and a completion, of which the completion is to be learned: the teacher's action in
one visited state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

from turnmix.core.lines import ends, is_one_line
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import Trajectory
from turnmix.core.untaught import Untaught
from turnmix.methods.targets import executed_action, imitate, taught_labels, teacher_label


def path_rows(trajectory: Trajectory) -> list[dict[str, Any]]:
    """What was executed, a row for each line of turns. What no student should learn has `weight` 0: a call that could
    not be read, an accident, what was rejected; and what another row of the trajectory teaches."""
    turns = trajectory.turns
    settled = {each.turn for each in imitate([trajectory], executed_action).untaught}
    settled |= {index for index, turn in enumerate(turns) if turn.actor == "accident" or turn.is_rejected}
    is_all = is_one_line(trajectory)
    rows = []
    for end in ends(trajectory) or [0]:
        path = list(trajectory.history(end))
        if turns:
            path += [end, *turns[end].observation]
        taken = {
            place: each
            for place, each in enumerate(path)
            if isinstance(each, int) and (is_all or _is_taken_there(trajectory, path, place, each))
        }
        learned = {place for place, each in taken.items() if each not in settled}
        if is_all or learned:
            rows.append(_path_row(trajectory, path, learned, tools=trajectory.state(end).tools))
        settled.update(taken.values())
    return rows


def _is_taken_there(trajectory: Trajectory, path: Sequence[Message | int], place: int, turn: int) -> bool:
    """Does the action stand behind the state in which it was taken? A scaffold may keep it beside a summary."""
    return tuple(path[:place]) == trajectory.history(turn)


def _path_row(
    trajectory: Trajectory,
    path: Sequence[Message | int],
    learned: Set[int],
    *,
    tools: Sequence[ToolSpecification],
) -> dict[str, Any]:
    """`learned`: the places of executed actions that are to be learned."""
    messages: list[dict[str, Any]] = []
    for place, each in enumerate(path):
        if isinstance(each, int):
            weight = {} if place in learned else {"weight": 0}
            messages.append({**trajectory.turns[each].action.message.to_json(), **weight})
        else:
            messages.append(_as_seen(each))
    return {
        "messages": messages,
        **_about(trajectory, tools),
        "actors": [trajectory.turns[each].actor for each in path if isinstance(each, int)],
    }


def label_rows(trajectory: Trajectory) -> tuple[list[dict[str, Any]], tuple[Untaught, ...]]:
    """A row for each label that a student may learn; and those that none should."""
    rows = []
    for index, label in enumerate(taught_labels(trajectory)):
        if label is not None:
            state = trajectory.state(index)
            rows.append(
                {
                    "prompt": [message.to_json() for message in state.messages],
                    "completion": [label.message.to_json()],
                    **_about(trajectory, state.tools),
                    "turn": index,
                    "actor": trajectory.turns[index].actor,
                }
            )
    return rows, imitate([trajectory], teacher_label, once_a_state=True).untaught


def _as_seen(message: Message) -> dict[str, Any]:
    """A message between actions. An assistant's is one that was seen and not learned."""
    return {**message.to_json(), **({"weight": 0} if message.role == "assistant" else {})}


def _about(trajectory: Trajectory, tools: Sequence[ToolSpecification]) -> dict[str, Any]:
    verdict = trajectory.verdict
    return {
        "tools": [tool.to_json() for tool in tools],
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
