"""What the nano student's base checkpoint learns from: the wanderer's trajectories, with some of the oracle's turns.

In: a number of trajectories and a seed. Out: a JSON-lines file of trajectories, rolled out in real sandboxes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from turnmix.core.event_loop import run_coroutine
from turnmix.core.json_text import json_text
from turnmix.core.trajectory import Trajectory
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.nano.wanderer import make_wanderer
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import Actors
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

TASK_SEED = 1_000_003
"""Its repositories are none of a recipe's, whose seeds are smaller."""
CONCURRENCY = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherShareMixture:
    """Each trajectory draws its own teacher share between 0 and `most`, then each turn by that share."""

    most: float

    def beta(self, iteration: int) -> float | None:
        return None

    def actors(self, iteration: int, generator: random.Random) -> Actors:
        share = generator.uniform(0, self.most)
        seed = generator.getrandbits(64)
        return lambda turn, state: (
            "teacher" if random.Random(f"{seed} {turn}").random() < share else "student"
        )


def experience_source(num_tasks: int, *, seed: int) -> MinirepoSource:
    """Tasks that no recipe has."""
    return MinirepoSource(
        MinirepoSettings(train=num_tasks, seed=TASK_SEED + seed),
        make_sandbox=BubblewrapSettings().make,
        scaffold=ScaffoldSettings(),
    )


def collect_experience(path: Path, *, num_trajectories: int, teacher_share: float, seed: int) -> None:
    """Write `num_trajectories` trajectories of the wanderer to `path`, one JSON object a line, in plan order."""
    source = experience_source(num_trajectories, seed=seed)
    plans = make_plans(source.tasks("train"), iteration=1, seed=seed, cohort_size=1, beta=None)
    with path.open("w") as file:

        def write(trajectory: Trajectory) -> None:
            file.write(json_text(trajectory.to_json()) + "\n")

        run_coroutine(
            collect(
                RolloutRequest(
                    plans=plans,
                    source=source,
                    student=make_wanderer("wanderer", seed, source.solution),
                    teacher=source.expert(),
                    mixture=TeacherShareMixture(most=teacher_share),
                    label=True,
                    concurrency=CONCURRENCY,
                    on_trajectory=write,
                )
            )
        )
