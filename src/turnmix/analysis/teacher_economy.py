"""What a teacher took, by resolved task: labels, tokens and money.

In: runs, and the prices that were said of their teachers. Out: a table, one row a run. A price that is not known makes
no figure; an oracle is free, and said to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from turnmix.analysis.stored import StoredAnalysis
from turnmix.analysis.stored_training import StoredTraining, stored_training
from turnmix.analysis.table import Cell, Column, Share, Table
from turnmix.analysis.teacher_prices import TeacherPrices, dollars, kept_prices
from turnmix.core.usage import Usage

ORACLE = "oracle"
_COLUMNS = (
    Column(title="run"),
    Column(title="teacher"),
    Column(title="holdout resolved", unit="share"),
    Column(title="more than base"),
    Column(title="labels learned"),
    Column(title="teacher's answers"),
    Column(title="requests"),
    Column(title="tokens in", unit="tokens"),
    Column(title="cached", unit="tokens"),
    Column(title="tokens out", unit="tokens"),
    Column(title="dollars", unit="dollars"),
    Column(title="labels per resolved task"),
    Column(title="tokens per resolved task", unit="tokens"),
    Column(title="dollars per resolved task", unit="dollars"),
)


def teacher_tables(analyses: Sequence[StoredAnalysis]) -> list[Table]:
    """Raises UserError: a run is damaged."""
    runs = list(dict.fromkeys(each.run for each in analyses))
    return economy_tables(runs) if runs else []


def economy_tables(runs: Iterable[Path]) -> list[Table]:
    """None where nothing was trained."""
    trainings = [training for run in runs if (training := stored_training(run)).iterations]
    if not trainings:
        return []
    prices = {training.run: kept_prices(training.run) for training in trainings}
    table = Table(
        name="teacher",
        title="What the teacher took",
        columns=_COLUMNS,
        rows=tuple(_row(training, prices[training.run]) for training in trainings),
        notes=(
            "Of training alone: rollouts and scores, whole and with what was asked again. Per resolved task: of the "
            "last checkpoint that was evaluated or analysed, whatever the base student resolves of it too.",
            *_notes(trainings, prices),
        ),
    )
    return [table]


def money(training: StoredTraining, prices: TeacherPrices | None) -> float | None:
    """What its teacher took; 0: it is free. None: not known."""
    used = _asked(training)
    if training.teacher == ORACLE:
        return 0.0
    return None if prices is None or not used.requests else dollars(used, prices)


def _row(training: StoredTraining, prices: TeacherPrices | None) -> tuple[Cell, ...]:
    used = _asked(training)
    tokens = used.input_tokens + used.output_tokens
    learned = sum(each.labels for each in training.iterations)
    answers = [each.answers for each in training.iterations if each.answers is not None]
    last = max(training.resolved, default=None)
    resolved = None if last is None else training.resolved[last]
    base = training.resolved.get(0)
    is_gain_known = resolved is not None and base is not None and base.of == resolved.of and last != 0
    spent = money(training, prices)
    return (
        training.name,
        f"{ORACLE} (free)" if training.teacher == ORACLE else training.teacher,
        resolved,
        resolved.count - base.count if is_gain_known and resolved and base else None,
        learned,
        sum(answers) if answers else None,
        used.requests,
        tokens_or_none(used, used.input_tokens),
        tokens_or_none(used, used.cached_tokens),
        tokens_or_none(used, used.output_tokens),
        spent,
        _per(learned, resolved),
        _per(tokens_or_none(used, tokens), resolved),
        _per(spent, resolved),
    )


def tokens_or_none(used: Usage, tokens: int) -> int | None:
    """None: requests were sent, and the endpoint told no tokens; or none was sent, and there is nothing to count."""
    return tokens if used.input_tokens + used.output_tokens else None


def _per(amount: float | None, resolved: Share | None) -> float | None:
    return None if amount is None or resolved is None or not resolved.count else amount / resolved.count


def _asked(training: StoredTraining) -> Usage:
    return sum((each.asked for each in training.iterations), Usage())


def _notes(trainings: Sequence[StoredTraining], prices: dict[Path, TeacherPrices | None]) -> list[str]:
    told = []
    if any(training.teacher == ORACLE for training in trainings):
        told.append("An oracle is free: it is asked in this process, and nobody is paid.")
    for training in trainings:
        used = _asked(training)
        if training.teacher == ORACLE or money(training, prices[training.run]) is not None:
            continue
        if not used.requests:
            why = "its teacher was asked of no server, so that no tokens are priced"
        elif prices[training.run] is None:
            why = "say --price input=…, output=… and cached=…, in dollars per million tokens"
        elif not used.input_tokens + used.output_tokens:
            why = "the endpoint told no tokens"
        else:
            why = "what cached tokens cost is not known: say --price cached=…"
        told.append(f"{training.name}: no money is told: {why}.")
    return told
