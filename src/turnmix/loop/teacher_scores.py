"""In: transitions. Out: the same ones with the teacher's log-probabilities (the w of OPD, paper Eq. 22).

Scores are written to the run directory before they are used, one record a trajectory, and read back from it:
so a resumed run learns from the same numbers, and asks for none a second time. What asking cost stands in the same
records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from turnmix.core.errors import TeacherError
from turnmix.core.transition import Transition, compared
from turnmix.core.usage import Usage, total_usage
from turnmix.policies.scoring import Scorer, ScoreRequest, TokenPath
from turnmix.store.append_log import FIX, AppendLog
from turnmix.store.records import ScoreRecord, checked

LARGEST_MISSING_SHARE = 0.5
"""A trajectory is unusable where the teacher gives no number for more than this share of its tokens; more than
this share of unusable trajectories stops the run."""


def with_teacher_logprobs(
    transitions: Sequence[Transition],
    *,
    scorer: Scorer,
    log: AppendLog,
    path_of: Callable[[Transition], TokenPath | None],
    on_scored: Callable[[int, int], None],
) -> list[Transition]:
    """`path_of` a transition that is not trained on is None: it gets no scores. `on_scored` is told how many
    trajectories of how many are scored.

    Raises:
        TeacherError: it could not be asked, or gave no numbers for most trajectories. None of those is stored.
    """
    groups: dict[str, list[Transition]] = {}
    for each in transitions:
        groups.setdefault(each.trajectory_id, []).append(each)
    paths: dict[str, list[TokenPath | None]] = {}
    unusable = []
    done = sum(trajectory_id in log for trajectory_id in groups)
    told = scorer.usage
    on_scored(done, len(groups))

    def requests() -> Iterator[ScoreRequest]:
        for trajectory_id, group in groups.items():
            if trajectory_id not in log:
                paths[trajectory_id] = [path_of(each) for each in group]
                asked = [path for path in paths[trajectory_id] if path is not None]
                yield ScoreRequest(trajectory_id=trajectory_id, paths=asked)

    def keep(trajectory_id: str, scores: list[list[float | None]]) -> None:
        nonlocal done, told
        answers = iter(scores)
        logprobs = [None if path is None else next(answers) for path in paths.pop(trajectory_id)]
        used, told = scorer.usage - told, scorer.usage
        record = {"id": trajectory_id, "logprobs": logprobs, "usage": used.to_json()}
        if _missing_share(scores) > LARGEST_MISSING_SHARE:
            unusable.append(record)
        else:
            log.append_record(record)
        done += 1
        on_scored(done, len(groups))

    scorer.score(requests(), keep)
    # Stored last, so that a run stopped by a teacher without numbers asks again when it is resumed.
    if len(unusable) > LARGEST_MISSING_SHARE * len(groups):
        raise TeacherError(
            f"the teacher gave no log-probability, or one of log 0, for most tokens of {len(unusable)} of "
            f"{len(groups)} trajectories, such as {unusable[0]['id']}: a local teacher's numbers may overflow in "
            "its teacher.dtype, an endpoint may withhold them"
        )
    for record in unusable:
        log.append_record(record)
    scored: dict[str, Iterator[list[float | None] | None]] = {
        record["id"]: iter(_checked(log, record)["logprobs"]) for record in log.records(groups)
    }
    return [
        each if logprobs is None else compared(each, logprobs)
        for each in transitions
        for logprobs in [next(scored[each.trajectory_id])]
    ]


def scoring_usage(log: AppendLog, trajectory_ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """What the scores of these trajectories cost, those of them that have any; empty: no server was asked."""
    records = log.records([each for each in trajectory_ids if each in log])
    return total_usage({"teacher": Usage(**_checked(log, record).get("usage", {}))} for record in records)


def _checked(log: AppendLog, record: dict[str, Any]) -> dict[str, Any]:
    checked(record, ScoreRecord, where=f"{log.path}: the record {record['id']}", fix=FIX)
    return record


def _missing_share(scores: Sequence[Sequence[float | None]]) -> float:
    logprobs = [each for path in scores for each in path]
    return logprobs.count(None) / len(logprobs) if logprobs else 0.0
