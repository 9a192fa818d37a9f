"""One process of a Ray Train job: an iteration's training, from the last checkpoint to the next.

In: a `LearningJob`, and the desk of its training, which has the transitions. Out: at the desk, the steps and a report;
in the job's place, a checkpoint. It holds nothing that another such job does not make again: a lost one is begun anew.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from turnmix.cluster.transfer import fetch_directory, sees, send_directory
from turnmix.core.errors import InfrastructureError, TrainingError, TurnMixError
from turnmix.core.transition import Transition
from turnmix.recipe.recipe import Recipe

CHECKPOINT = "checkpoint"
"""In the job's place."""
_LOST = ("gloo/transport", "NCCL error", "Connection reset by peer", "Connection closed by peer")
"""In the message of an error of torch's: another process has gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningJob:
    """What every process of one training is told."""

    recipe: Recipe
    desk: str
    """The name of the desk's actor, and below its namespace."""
    namespace: str
    directory: Path
    """The current one of the command: relative paths of the recipe begin there, where it is there."""
    checkpoint: Path | None
    """To begin from; None: the base model."""
    place: Path
    """A directory of the run, which holds the mark; what is learned goes there."""
    mark: str
    """By which a process knows whether it sees the run's directory."""
    moment: datetime | None
    generator: random.Random


def learn_on_rank(told: dict[str, Any]) -> None:
    """What Ray Train calls on each of its workers, which are in one process group by then."""
    import ray

    job: LearningJob = told["job"]
    desk = ray.get_actor(job.desk, namespace=job.namespace)
    rank = int(os.environ["RANK"])
    if ray.get(desk.join.remote(rank, f"{socket.gethostname()} ({ray.util.get_node_ip_address()})")):
        return  # how it ends was told before a process was lost
    if job.directory.is_dir():
        os.chdir(job.directory)
    try:
        _learn(job, desk)
    except Exception as error:
        if _is_of_another(error):
            raise
        # Before this process ends, so that nobody takes what follows for the cause.
        ray.get(desk.fail.remote(rank, error))
        if not isinstance(error, TrainingError):  # which every rank comes to
            raise


def _learn(job: LearningJob, desk: Any) -> None:
    import ray

    from turnmix.assembly.learning import load_learner
    from turnmix.assembly.teacher import make_teacher
    from turnmix.training.checkpoint import save_checkpoint

    with _begun_from(job, desk) as checkpoint:
        loaded = load_learner(
            job.recipe,
            teacher=make_teacher(job.recipe, expert=None, moment=job.moment),
            checkpoint=checkpoint,
            moment=job.moment,
            acts_elsewhere=True,
        )
    learner = loaded.learner
    if os.environ["RANK"] != "0":
        learner.follow()
        return

    def transitions() -> Iterator[Transition]:
        for lot in ray.get(desk.lots.remote()):
            yield from ray.get(lot)

    try:
        report = learner.fit(transitions(), generator=job.generator, on_step=desk.step.remote)
        with _written_to(job, desk) as place:
            save_checkpoint(place, model=learner.acting_model, tokenizer=loaded.tokenizer, learner=learner)
    except (TrainingError, OSError):
        learner.close()
        raise
    learner.close()
    ray.get(desk.end.remote(report))


@contextmanager
def _begun_from(job: LearningJob, desk: Any) -> Iterator[Path | None]:
    """The checkpoint to begin from, as this process sees it. A machine that does not see the run's directory is sent it
    once, for all of its processes."""
    if job.checkpoint is None or sees(job.place, job.mark):
        yield job.checkpoint
        return
    import torch.distributed

    local = Path(tempfile.gettempdir()) / f"turnmix-{job.mark}"
    is_first = os.environ["LOCAL_RANK"] == "0"
    try:
        if is_first:
            fetch_directory(desk, local)
        _wait_for_all(torch.distributed)
        yield local
        _wait_for_all(torch.distributed)
    finally:
        if is_first:
            shutil.rmtree(local, ignore_errors=True)


def _wait_for_all(distributed: Any) -> None:
    if distributed.is_initialized():
        distributed.barrier()


@contextmanager
def _written_to(job: LearningJob, desk: Any) -> Iterator[Path]:
    """Where the new checkpoint is to be written; it is in the job's place afterwards."""
    if sees(job.place, job.mark):
        yield job.place / CHECKPOINT
        return
    with tempfile.TemporaryDirectory(prefix="turnmix-") as local:
        yield Path(local) / CHECKPOINT
        send_directory(desk, Path(local) / CHECKPOINT)


def _is_of_another(error: Exception) -> bool:
    """Is it the end of another process, or of the machine, and not of what this one was to do?"""
    from ray.exceptions import RayError
    from torch.distributed import DistError

    if isinstance(error, (InfrastructureError, RayError, DistError)):
        return True
    return not isinstance(error, TurnMixError) and any(sign in str(error) for sign in _LOST)
