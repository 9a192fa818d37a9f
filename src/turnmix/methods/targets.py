"""From what happened to what is taught: the targets that methods choose from (paper Eq. 10 and 11).

In: trajectories. Out: transitions of weight 1, in the order of turns, and counts of what was not taught.

A target that is imitated is mended first (`rendering.mending`), and is not taught where it is malformed: the student
would learn to write it. What the student itself sampled is taught as it is: there the weight says how good it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from turnmix.core.message import ToolSpecification
from turnmix.core.trajectory import Action, Trajectory, Turn
from turnmix.core.transition import Transition
from turnmix.core.untaught import Objection, Untaught
from turnmix.methods.method import Taught
from turnmix.rendering.malformed import malformed, malformed_text
from turnmix.rendering.mending import mended
from turnmix.scaffold.text_calls import read_calls, tools_in

Target = Callable[[Turn], Action | None]
"""The action taught in the state of a turn; None: nothing."""


def teacher_label(turn: Turn) -> Action | None:
    """The teacher's action in the state, whoever acted."""
    return turn.label


def executed_action(turn: Turn) -> Action | None:
    """What was executed, whoever acted; an accident is nobody's action."""
    return None if turn.actor == "accident" else turn.action


def teachers_turn(turn: Turn) -> Action | None:
    """What was executed, where the teacher acted."""
    return turn.action if turn.actor == "teacher" else None


def imitate(trajectories: Iterable[Trajectory], target: Target) -> Taught:
    """One transition for each visited state that has a well-formed target; counts of the other states. An accident is
    never a target: where it happened, nothing is missing that is not taught."""
    transitions: list[Transition] = []
    untaught: list[Untaught] = []
    missing = 0
    for trajectory in trajectories:
        judge = _Judge(trajectory)
        for index, turn in enumerate(trajectory.turns):
            action = target(turn)
            if turn.actor == "accident" and (action is None or action is turn.action):
                continue
            if action is None:
                missing += 1
                continue
            action = judge.mended(action)
            objection = judge.objection(action)
            if objection is None:
                transitions.append(transition(trajectory, index, action, is_well_formed=judge.is_final))
            else:
                left_out = Untaught(
                    objection=objection, target=action, trajectory_id=trajectory.id, turn=index
                )
                untaught.append(left_out)
    return Taught(
        transitions=transitions,
        untaught=tuple(untaught),
        figures={"targets_malformed": len(untaught), "targets_missing": missing},
    )


def taught_labels(trajectory: Trajectory) -> list[Action | None]:
    """The label of each turn as it would be taught; None: there is none, or it is malformed."""
    judge = _Judge(trajectory)
    labels = [None if turn.label is None else judge.mended(turn.label) for turn in trajectory.turns]
    return [None if label is None or judge.objection(label) is not None else label for label in labels]


class _Judge:
    """Mends and judges targets by the tools of their trajectory, on offer or described in its prompt."""

    def __init__(self, trajectory: Trajectory) -> None:
        self._are_on_offer = bool(trajectory.tools)
        self._tools: tuple[ToolSpecification, ...] = trajectory.tools or tools_in(trajectory.prompt)
        self.is_final = self._are_on_offer or not self._tools
        """Would whoever judges a target later know no more?"""

    def mended(self, action: Action) -> Action:
        return action if action.token_ids is not None else mended(action, self._tools)

    def objection(self, action: Action) -> Objection | None:
        if action.token_ids is not None and action.parse_error is None:
            return None
        if not self._tools and not action.message.tool_calls:
            return malformed_text(action)
        if self._are_on_offer:
            return malformed(action, self._tools)
        read = mended(read_calls(action, self._tools), self._tools)
        if read.message.tool_calls and not self._tools:
            return None
        return malformed(read, self._tools)


def sampled_turns(trajectory: Trajectory) -> list[Transition]:
    """The student's own turns, as the tokens that it sampled."""
    return [
        transition(trajectory, index, turn.action)
        for index, turn in enumerate(trajectory.turns)
        if turn.actor == "student" and turn.action.token_ids
    ]


def transition(
    trajectory: Trajectory, turn: int, target: Action, *, is_well_formed: bool = False
) -> Transition:
    """Teach `target` in the state of turn `turn`. `is_well_formed`: see `Transition`.

    Raises:
        ValueError: the target is an accident, which nobody should learn.
    """
    happened = trajectory.turns[turn]
    if happened.actor == "accident" and target is happened.action:
        raise ValueError(
            f"{trajectory.id}, turn {turn + 1}: an accident is never taught: teach the turn's label, or nothing"
        )
    return Transition(
        state=trajectory.state(turn),
        target=target,
        is_well_formed=is_well_formed,
        trajectory_id=trajectory.id,
        task_id=trajectory.task_id,
    )
