"""The desk of one training: an actor beside the command that has Ray Train run the job, and knows how far it is.

In: a job, the transitions as objects of Ray's store. Out: the steps, the processes that were lost, how it ended. It
holds no weights: checkpoints pass it a piece at a time, and only to and from machines that do not see the run's
directory.
"""

from __future__ import annotations

import tempfile
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from turnmix.cluster.learning_job import CHECKPOINT, LearningJob, learn_on_rank
from turnmix.cluster.transfer import DirectoryDesk
from turnmix.core.errors import InfrastructureError, TurnMixError, first_line

if TYPE_CHECKING:
    from turnmix.training.fit_report import FitReport, StepReport

LEARNER_MEMORY = 1 << 20
"""Bytes that Ray counts for a learner. They rest while workers roll out, and those while learners learn: they may have
the same cores, and Ray places nothing that asks for nothing."""


@dataclass(slots=True, kw_only=True)
class News:
    """What the command has not heard yet."""

    steps: list[StepReport] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    """Of processes, a line each."""


class LearningDesk(DirectoryDesk):
    """An actor's class. `run` has a thread of its own, and so have the calls that move files; the others come one by
    one, those of one caller in their order."""

    def __init__(self, job: LearningJob, lots: list[Any]) -> None:
        """`lots`: references to lists of transitions."""
        super().__init__(source=job.checkpoint, target=job.place / CHECKPOINT)
        self._job = job
        self._lots = lots
        self._nodes: dict[int, str] = {}
        self._num_steps = 0
        self._news = News()
        self._outcome: FitReport | Exception | None = None

    def run(self) -> FitReport:
        """Have the job done, again where processes are lost; how it ended.

        Raises:
            TurnMixError: what a process raised.
            InfrastructureError: too many were lost.
        """
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer

        cluster = self._job.recipe.cluster
        assert cluster is not None
        gpus = cluster.gpus_per_learner
        with tempfile.TemporaryDirectory(prefix="turnmix-") as storage:
            trainer = TorchTrainer(
                learn_on_rank,
                train_loop_config={"job": self._job},
                torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpus else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=cluster.learners,
                    use_gpu=gpus > 0,
                    resources_per_worker={
                        "CPU": 0,
                        "memory": LEARNER_MEMORY,
                        **({"GPU": gpus} if gpus else {}),
                    },
                    placement_strategy="PACK" if gpus else "SPREAD",
                ),
                run_config=RunConfig(
                    name=self._job.desk,
                    storage_path=storage,
                    failure_config=FailureConfig(max_failures=cluster.worker_failures),
                    callbacks=[_losses_told_to(self._job.desk, self._job.namespace)],
                ),
            )
            try:
                trainer.fit()
            except TrainingFailedError as error:
                if self._outcome is None:
                    raise InfrastructureError(
                        f"learning lost processes {cluster.worker_failures + 1} times: {first_line(error)}"
                    ) from None
        if isinstance(self._outcome, Exception):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def join(self, rank: int, node: str) -> bool:
        """A process begins. Is there nothing left to do?"""
        self._nodes[rank] = node
        return self._outcome is not None

    def lots(self) -> list[Any]:
        return self._lots

    def step(self, report: StepReport) -> None:
        """One that was made before a process was lost is made again, and told once."""
        if report.step == self._num_steps + 1:
            self._num_steps += 1
            self._news.steps.append(report)

    def end(self, report: FitReport) -> None:
        self._outcome = report

    def fail(self, rank: int, error: Exception) -> None:
        """No other attempt would do better."""
        if self._outcome is None:
            self._outcome = error if isinstance(error, TurnMixError) else _told(error, self._nodes[rank])

    def lose(self, errors: dict[int, str]) -> None:
        """Ray Train tells which processes it lost."""
        if self._outcome is None and errors:
            # Those that wait for one that has gone fail too: the shortest story is the cause's.
            rank = min(errors, key=lambda each: ("ActorDied" not in errors[each], each))
            self._news.losses.append(
                f"learner {rank} on {self._nodes.get(rank, 'a machine')}: {errors[rank]}"
            )

    def news(self) -> News:
        """Since it was asked before."""
        found, self._news = self._news, News()
        return found


def _told(error: Exception, node: str) -> Exception:
    """An error that nobody meant, with where it was raised."""
    lines = "".join(traceback.format_exception(error))
    return RuntimeError(f"a learner on {node} failed:\n{lines}")


def _losses_told_to(desk: str, namespace: str) -> Any:
    from ray.train import UserCallback

    class Losses(UserCallback):  # type: ignore[misc]
        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
            import ray

            told = {
                rank: f"{type(error).__name__}: {first_line(error)}"
                for rank, error in worker_exceptions.items()
            }
            ray.get_actor(desk, namespace=namespace).lose.remote(told)

    return Losses()
