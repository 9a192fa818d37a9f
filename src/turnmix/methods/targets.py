"""From what happened to what is taught: the targets that methods choose from (paper Eq. 10 and 11).

In: trajectories. Out: transitions of weight 1, in the order of turns, and counts of what was not taught.

A target that is imitated is mended first (`rendering.mending`), and is not taught where it is malformed: the student
would learn to write it. What the student itself sampled is taught as it is: there the weight says how good it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from turnmix.core.lines import visits
from turnmix.core.trajectory import Action, Trajectory, Turn
from turnmix.core.transition import Transition
from turnmix.core.untaught import Objection, Untaught
from turnmix.methods.method import Taught
from turnmix.rendering.malformed import malformed, malformed_text
from turnmix.rendering.mending import mended
from turnmix.scaffold.text_calls import KnownTools, known_tools, read_calls

Target = Callable[[Turn], Action | None]
"""The action taught in the state of a turn; None: nothing."""


def teacher_label(turn: Turn) -> Action | None:
    """The teacher's action in the state, whoever acted."""
    return turn.label


def executed_action(turn: Turn) -> Action | None:
    """What was executed, whoever acted; an accident is nobody's action, and what was rejected was executed nowhere."""
    return None if turn.actor == "accident" or turn.is_rejected else turn.action


def teachers_turn(turn: Turn) -> Action | None:
    """What was executed, where the teacher acted."""
    return turn.action if turn.actor == "teacher" and not turn.is_rejected else None


def imitate(trajectories: Iterable[Trajectory], target: Target, *, once_a_state: bool = False) -> Taught:
    """One transition for each turn that has a well-formed target; counts of the others. An accident is never a target:
    where it happened, nothing is missing that is not taught. `once_a_state`: the target is of the state, as a label is,
    and taught once where several turns were taken in one."""
    transitions: list[Transition] = []
    untaught: list[Untaught] = []
    missing = rejected = 0
    for trajectory in trajectories:
        judges = _judges(trajectory)
        targets = [target(turn) for turn in trajectory.turns]
        states = visits(trajectory) if once_a_state else range(len(targets))
        has_target = {state for state, action in zip(states, targets, strict=True) if action is not None}
        settled: set[int] = set()
        for index, (turn, action) in enumerate(zip(trajectory.turns, targets, strict=True)):
            if turn.actor == "accident" and (action is None or action is turn.action):
                continue
            if turn.is_rejected and (not once_a_state if action is None else _is_executed(turn, action)):
                rejected += 1
                continue
            if states[index] in settled or (action is None and states[index] in has_target):
                continue
            settled.add(states[index])
            if action is None:
                missing += 1
                continue
            judge = judges[index]
            action = judge.mended(action)
            objection = judge.objection(action)
            if objection is None:
                transitions.append(transition(trajectory, index, action, is_well_formed=judge.is_final))
            else:
                left_out = Untaught(
                    objection=objection, target=action, trajectory_id=trajectory.id, turn=index
                )
                untaught.append(left_out)
    figures = {"targets_malformed": len(untaught), "targets_missing": missing}
    return Taught(
        transitions=transitions,
        untaught=tuple(untaught),
        figures=figures | rejected_figures(rejected),
    )


def _is_executed(turn: Turn, action: Action) -> bool:
    """Is it what was done there, and no label?"""
    return action is turn.action and action is not turn.label


def rejected_figures(rejected: int) -> dict[str, int]:
    """Nothing where no turn was rejected: only scaffolds of others reject any."""
    return {"targets_rejected": rejected} if rejected else {}


def taught_labels(trajectory: Trajectory) -> list[Action | None]:
    """The label of each turn as it would be taught; None: there is none, it is malformed, or an earlier turn was taken
    in the same state and has one."""
    labels: list[Action | None] = []
    settled: set[int] = set()
    for turn, judge, state in zip(trajectory.turns, _judges(trajectory), visits(trajectory), strict=True):
        label = None if turn.label is None or state in settled else judge.mended(turn.label)
        settled |= {state} if turn.label is not None else set()
        labels.append(None if label is None or judge.objection(label) is not None else label)
    return labels


def _judges(trajectory: Trajectory) -> list[_Judge]:
    """Of each turn: the tools may change where a line begins."""
    known = known_tools(trajectory)
    made: dict[int, _Judge] = {}
    return [made.setdefault(id(each), _Judge(each)) for each in known]


class _Judge:
    """Mends and judges targets by the tools of their state, on offer or described in its first messages."""

    def __init__(self, known: KnownTools) -> None:
        self._tools, self._are_on_offer = known
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
    """The student's own turns, as the tokens that it sampled, less those that were rejected."""
    return [
        transition(trajectory, index, turn.action)
        for index, turn in enumerate(trajectory.turns)
        if _is_sampled(turn) and not turn.is_rejected
    ]


def rejected_turns(trajectories: Iterable[Trajectory]) -> dict[str, int]:
    """How many of the student's own turns were rejected, as a figure."""
    turns = (turn for trajectory in trajectories for turn in trajectory.turns)
    return rejected_figures(sum(_is_sampled(turn) and turn.is_rejected for turn in turns))


def _is_sampled(turn: Turn) -> bool:
    return turn.actor == "student" and bool(turn.action.token_ids)


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
