"""The turns of a session's lines as those of one trajectory.

In: the turns in the order in which they were asked for, and the history of each. Out: the same turns, each with an
opening where it does not follow the one before it: it shares as much as it can with what an earlier turn led to. Turns
that the scaffold asked for and dropped are told apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from turnmix.core.message import Message
from turnmix.core.opening import Opening
from turnmix.core.trajectory import Turn
from turnmix.gateway.session.graph import Node
from turnmix.gateway.session.line import SessionTurn


def joined(turns: Sequence[SessionTurn], *, copied: Collection[SessionTurn]) -> tuple[Turn, ...]:
    """`copied`: those whose action stands in a history in which it was not taken."""
    lines = {turn.line: turn.line.recorder.turns for turn in turns if turn.line is not None}
    rejected = _rejected(turns, copied)
    labelled: set[bytes] = set()
    """States that a turn so far has a label of."""
    made: list[Turn] = []
    for asked, opening in zip(turns, _openings(turns), strict=True):
        assert asked.line is not None
        turn = lines[asked.line][asked.index]
        label = None if asked.place in labelled else turn.label
        if label is not None:
            labelled.add(asked.place)
        made.append(
            replace(
                turn,
                opening=opening,
                form=asked.form,
                label=label,
                is_rejected=asked in rejected,
                repeats=asked.repeats,
            )
        )
    return tuple(made)


def _openings(turns: Sequence[SessionTurn]) -> list[Opening | None]:
    index_of = {turn: index for index, turn in enumerate(turns)}
    owners: dict[Node[SessionTurn], int] = {}
    """The first turn whose state, action or observation a history is the end of."""
    openings: list[Opening | None] = []
    for index, turn in enumerate(turns):
        new: list[Node[SessionTurn]] = []
        for node in turn.node.path():
            if node in owners:
                break
            new.append(node)
        known = new[-1].parent if new else turn.node
        after = owners.get(known) if known is not None else None
        openings.append(_opening(turns, index, after, new, index_of) if index else None)
        owners.update(dict.fromkeys(new, index))
        for node in (turn.led_to or turn.answered or turn.node).path():
            if node in owners:
                break
            owners[node] = index
    return openings


def _opening(
    turns: Sequence[SessionTurn],
    index: int,
    after: int | None,
    new: Sequence[Node[SessionTurn]],
    index_of: Mapping[SessionTurn, int],
) -> Opening | None:
    """That of a turn whose state is `new`, from its end, behind what it shares with the turn `after`."""
    turn = turns[index]
    before = turns[0 if after is None else after]
    shared = turn.node.depth - len(new)
    length = before.node.depth + 1 if before.led_to is None else before.led_to.depth
    opening = Opening(
        after=after,
        shared=None if after is None or shared == length else shared,
        messages=tuple(_item(node, index, index_of) for node in reversed(new)),
        tools=None if turn.tools == before.tools else turn.tools,
    )
    return None if opening == Opening(after=index - 1) else opening


def _item(node: Node[SessionTurn], index: int, index_of: Mapping[SessionTurn, int]) -> Message | int:
    assert node.message is not None
    for owner in (node.answer, node.copy_of):
        if owner is not None and (earlier := index_of.get(owner, index)) < index:
            return earlier
    return node.message


def _rejected(turns: Sequence[SessionTurn], copied: Collection[SessionTurn]) -> set[SessionTurn]:
    """Those that no later history holds, where the scaffold went on from another answer in the same state, or asked
    again there."""
    of_state: dict[bytes, list[SessionTurn]] = defaultdict(list)
    for turn in turns:
        of_state[turn.place].append(turn)
    rejected: set[SessionTurn] = set()
    for same in of_state.values():
        used = {turn for turn in same if _is_continued(turn) or turn in copied}
        rejected.update(turn for turn in same if turn not in used and (used or turn is not same[-1]))
    return rejected


def _is_continued(turn: SessionTurn) -> bool:
    return turn.answered is not None and turn.answered.is_continued
