"""How far a student is from its teacher in the states that it visits itself (paper Fig. 2).

In: analyses, with the student's own trajectories, the teacher's label in each of their states, and what the student
thinks of it. Out: tables by checkpoint, by kind of label, by turn, and of who acted while it was trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from turnmix.analysis.judged_turns import (
    IsCounted,
    JudgedTrajectory,
    JudgedTurn,
    agreement,
    judged_trajectories,
    label_nll,
    num_states,
    reverse_kl,
)
from turnmix.analysis.remembered import remembered
from turnmix.analysis.stored import StoredAnalysis, checkpoint_titles
from turnmix.analysis.table import Cell, Column, Share, Table
from turnmix.core.trajectory import StopReason
from turnmix.store.analysis_directory import OWN, SAMPLED, TEACHER
from turnmix.store.run_directory import RunDirectory

FIRST_TURNS = (1, 4, 7, 10, 13, 17, 25, 49, 97)
"""Where the parts of a trajectory begin that are shown each for itself, counted from 1."""
_NLL: Literal["nats per token"] = "nats per token"
_BY_TRAJECTORY = "Intervals of divergence and agreement: 95 %, trajectories drawn again with replacement."
_NO_REVERSE_KL = (
    "The reverse KL is not shown: it needs a teacher that gives probabilities. One that names a single action, such as "
    "an oracle, gives every other action none, and the reverse KL is infinite."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """What one analysis holds."""

    title: str
    own: list[JudgedTrajectory]
    teacher: list[JudgedTrajectory]
    sampled: list[JudgedTrajectory]
    num_failed: int
    """Of its own trajectories, those that failed around the agent."""


def divergence_of(analysis: StoredAnalysis, *, title: str = "") -> Divergence:
    """Raises UserError: something stored is damaged."""
    return replace(_divergence_of(analysis), title=title)


@remembered
def _divergence_of(analysis: StoredAnalysis) -> Divergence:
    own = analysis.scored(OWN)
    return Divergence(
        title="",
        own=judged_trajectories(own),
        teacher=judged_trajectories(analysis.scored(TEACHER), by_greedy=True),
        sampled=judged_trajectories(analysis.scored(SAMPLED)),
        num_failed=sum(each.trajectory.stop_reason is StopReason.infra_error for each in own),
    )


def divergence_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """None where no student was looked at alone."""
    titles = checkpoint_titles(analyses)
    found = [divergence_of(each, title=title) for each, title in zip(analyses, titles, strict=True)]
    found = [each for each in found if each.own]
    if not found:
        return []
    return [_by_checkpoint(found), _agreements(found), _by_kind(found), _by_turn(found), *_actors(analyses)]


def _any(turn: JudgedTurn) -> bool:
    return True


def _until_deviation(turn: JudgedTurn) -> bool:
    return not turn.is_after_deviation


def _after_deviation(turn: JudgedTurn) -> bool:
    return turn.is_after_deviation


def _by_checkpoint(found: Sequence[Divergence]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    has_reverse_kl = any(each.sampled for each in found)
    for each in found:
        reverse = [reverse_kl(each.sampled)] if has_reverse_kl else []
        rows.append(
            (
                each.title,
                len(each.own),
                label_nll(each.own, _any),
                label_nll(each.own, _until_deviation),
                label_nll(each.own, _after_deviation),
                label_nll(each.teacher, _any),
                *reverse,
            )
        )
    notes = [
        "Label NLL: what the teacher's label costs the student, in nats per token of the label. Own states: those that "
        "the student visits when it acts alone, greedily; deviation: the first turn in which it does not do what the "
        "teacher would.",
        _BY_TRAJECTORY,
    ]
    if has_reverse_kl:
        notes.append(
            "Reverse KL: KL(student‖teacher) at each token that the student samples alone at temperature 1, in its own "
            "states; exact over the vocabulary where the teacher's model was in the process, else estimated by the "
            "sampled tokens, whose noise is in the interval."
        )
    else:
        notes.append(_NO_REVERSE_KL)
    if failed := sum(each.num_failed for each in found):
        notes.append(f"{failed} trajectories failed around the agent and are left out.")
    reverse_column = [Column(title="reverse KL", unit=_NLL)] if has_reverse_kl else []
    return Table(
        name="divergence",
        title="Divergence: label NLL, in nats per token",
        columns=(
            Column(title="student"),
            Column(title="trajectories"),
            Column(title="own states", unit=_NLL),
            Column(title="up to the first deviation", unit=_NLL),
            Column(title="after it", unit=_NLL),
            Column(title="the teacher's states", unit=_NLL),
            *reverse_column,
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _agreements(found: Sequence[Divergence]) -> Table:
    return Table(
        name="agreement",
        title="Agreement: the student does what the teacher would",
        columns=(
            Column(title="student"),
            Column(title="own states", unit="share"),
            Column(title="after the first deviation", unit="share"),
            Column(title="the teacher's states", unit="share"),
            Column(title="never deviates", unit="share"),
        ),
        rows=tuple(
            (
                each.title,
                agreement(each.own, _any),
                agreement(each.own, _after_deviation),
                agreement(each.teacher, _any),
                Share(count=sum(not one.deviates for one in each.own), of=len(each.own)),
            )
            for each in found
        ),
        notes=(
            "Own states: the same calls with the same arguments. The teacher's states: every token of the label is the "
            "student's likeliest. The last column counts trajectories, the others states.",
            _BY_TRAJECTORY,
        ),
    )


def _by_kind(found: Sequence[Divergence]) -> Table:
    rows = []
    for each in found:
        kinds = sorted({turn.kind or "" for one in (*each.own, *each.teacher) for turn in one.turns})
        for kind in kinds:
            rows.append(_row(each, kind or "any", partial(_is_of_kind, kind)))
    return _split_table(
        "divergence-by-kind",
        "Divergence by what the teacher's label does (label NLL in nats per token)",
        rows,
        note="A step's kind is its world's.",
    )


def _by_turn(found: Sequence[Divergence]) -> Table:
    rows = []
    for each in found:
        for first, behind in zip(FIRST_TURNS, (*FIRST_TURNS[1:], None), strict=True):
            name = f"turns {first}-{behind - 1}" if behind else f"turns {first} and more"
            end = behind or 1 << 53
            rows.append(_row(each, name, partial(_is_between, first, end)))
    return _split_table(
        "divergence-by-turn",
        "Divergence by turn (label NLL in nats per token)",
        rows,
        note="Turns are counted from 1.",
    )


def _is_of_kind(kind: str, turn: JudgedTurn) -> bool:
    return (turn.kind or "") == kind


def _is_between(first: int, end: int, turn: JudgedTurn) -> bool:
    return first <= turn.turn + 1 < end


def _row(each: Divergence, name: str, counted: IsCounted) -> tuple[Cell, ...]:
    return (
        f"{each.title}, {name}",
        num_states(each.own, counted),
        label_nll(each.own, counted),
        agreement(each.own, counted),
        num_states(each.teacher, counted),
        label_nll(each.teacher, counted),
        agreement(each.teacher, counted),
    )


def _split_table(name: str, title: str, rows: Iterable[tuple[Cell, ...]], *, note: str) -> Table:
    return Table(
        name=name,
        title=title,
        columns=(
            Column(title="student"),
            Column(title="own states"),
            Column(title="label NLL", unit=_NLL),
            Column(title="agreement", unit="share"),
            Column(title="teacher's states"),
            Column(title="label NLL there", unit=_NLL),
            Column(title="agreement there", unit="share"),
        ),
        rows=tuple(row for row in rows if row[1] or row[4]),
        notes=(note, _BY_TRAJECTORY),
    )


def _actors(analyses: Sequence[StoredAnalysis]) -> Iterator[Table]:
    """Who acted while the students were trained."""
    runs = list(dict.fromkeys(each.run for each in analyses))
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        with closing(RunDirectory.read(run)) as directory:
            last = max(each.iteration for each in analyses if each.run == run)
            for iteration in range(1, last + 1):
                figures = directory.stage_metrics("rollout", iteration)
                if figures is None:
                    continue
                name = f"iteration {iteration}"
                rows.append(
                    (
                        name if len(runs) == 1 else f"{run.name}, {name}",
                        figures.get("beta"),
                        figures.get("realised_beta"),
                        figures.get("realised_beta_tokens"),
                        figures.get("accidents"),
                    )
                )
    if rows:
        yield Table(
            name="actors",
            title="Who acted in the rollouts that the student was trained on",
            columns=(
                Column(title="rollouts"),
                Column(title="β"),
                Column(title="teacher's turns", unit="share"),
                Column(title="teacher's tokens", unit="share"),
                Column(title="accidents"),
            ),
            rows=tuple(rows),
            notes=(
                "The teacher's share of the turns and of the tokens, as the student counts them, that were taken.",
            ),
        )
