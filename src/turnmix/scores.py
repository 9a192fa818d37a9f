"""Transitions enter, the same ones with the teacher's log-probabilities leave (the w of OPD, paper Eq. 22).

Scores are written to the run directory before they are used, one record a trajectory, and read back from it:
so a resumed run learns from the same numbers, and asks for none a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from turnmix.core.transition import Transition
from turnmix.policies.scoring import Scorer, ScoreRequest, TokenPath
from turnmix.store.append_log import AppendLog


def with_teacher_logprobs(
    transitions: Sequence[Transition],
    *,
    scorer: Scorer,
    log: AppendLog,
    path_of: Callable[[Transition], TokenPath | None],
    on_scored: Callable[[int, int], None],
) -> list[Transition]:
    """`path_of` a transition too long to be trained on is None: it gets no scores. `on_scored` is told how many
    trajectories of how many are scored."""
    groups: dict[str, list[Transition]] = {}
    for each in transitions:
        groups.setdefault(each.trajectory_id, []).append(each)
    paths: dict[str, list[TokenPath | None]] = {}
    done = sum(trajectory_id in log for trajectory_id in groups)
    on_scored(done, len(groups))

    def requests() -> Iterator[ScoreRequest]:
        for trajectory_id, group in groups.items():
            if trajectory_id not in log:
                paths[trajectory_id] = [path_of(each) for each in group]
                asked = [path for path in paths[trajectory_id] if path is not None]
                yield ScoreRequest(trajectory_id=trajectory_id, paths=asked)

    def keep(trajectory_id: str, scores: list[list[float]]) -> None:
        nonlocal done
        answers = iter(scores)
        logprobs = [None if path is None else next(answers) for path in paths.pop(trajectory_id)]
        log.append_record({"id": trajectory_id, "logprobs": logprobs})
        done += 1
        on_scored(done, len(groups))

    scorer.score(requests(), keep)
    scored: dict[str, Iterator[list[float] | None]] = {
        record["id"]: iter(record["logprobs"]) for record in log.records(groups)
    }
    return [
        replace(each, reference_logprobs=None if logprobs is None else tuple(logprobs))
        for each in transitions
        for logprobs in [next(scored[each.trajectory_id])]
    ]
