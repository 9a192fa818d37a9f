"""A student that learns on the cluster: each iteration is one Ray Train job, from the last checkpoint to the next.

In: a recipe whose `cluster.learners` is not 0, and where the student stands. Out: what the loop asks of a student. This
process holds its renderer, tokenizer and counters, and its weights only where it acts here.
"""

from __future__ import annotations

import random
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnmix.assembly.served_student import load_served_student
from turnmix.assembly.server import MakeServing, Serving, make_student_server, serving, weights_of
from turnmix.assembly.student import frozen_base, student_location
from turnmix.assembly.student_text import StudentText
from turnmix.cluster.learning_desk import LearningDesk, News
from turnmix.cluster.learning_job import CHECKPOINT, LearningJob
from turnmix.cluster.placement import beside_this
from turnmix.cluster.transfer import MARK, MOVING
from turnmix.core.transition import Transition
from turnmix.policies.policy import Policy
from turnmix.policies.teacher import Teacher
from turnmix.recipe.recipe import Recipe
from turnmix.rendering.check import check_tools

if TYPE_CHECKING:
    from turnmix.training.fit_report import FitReport, StepReport

LEARNED = ".learned"
"""In a run's directory, while its student learns: what becomes the next checkpoint."""
LOT = 8
"""Trajectories whose transitions are one object of Ray's store."""
RUNNING = "running"
"""The concurrency group of the desk that has Ray Train at work."""
_LOOK_SECONDS = 0.3


class PlacedStudent(StudentText):
    """One whose learners Ray places. It stands where its last checkpoint does."""

    acts_twice = True
    has_room_beside_learning = True

    def __init__(
        self,
        *,
        recipe: Recipe,
        run: Path,
        checkpoint: Path | None,
        moment: datetime | None,
        server: Serving | None,
        **text: Any,
    ) -> None:
        """`run`: the run's directory. `checkpoint`: where it stands; None: at the base model. `moment`: what templates
        show as now. `server`: what it acts through. `text`: see `StudentText`."""
        super().__init__(**text)
        self.server = server
        self._recipe = recipe
        self._run = run
        self._checkpoint = checkpoint
        self._moment = moment
        self._say: Callable[[str], None] = lambda line: None
        if server is not None:
            self.acts_twice = server.takes_many_requests

    @contextmanager
    def serving(self, *, log: Path, say: Callable[[str], None]) -> Iterator[None]:
        """As that of `LearningStudent`. `say` is also told of learners that were lost."""
        self._say = say
        try:
            with serving(self.server, self._recipe, checkpoint=self._checkpoint, log=log, say=say):
                yield
        finally:
            shutil.rmtree(self._run / LEARNED, ignore_errors=True)

    def policy(self, *, greedy: bool) -> Policy:
        """The student as it was last saved, acting: through its server, or from a copy in this process."""
        if self.server is not None:
            return self.server.policy(greedy=greedy)
        return self._acting(self._checkpoint, greedy=greedy)

    def base_policy(self) -> Policy:
        """The student as it was before any training, in a copy of its own, acting greedily."""
        return self._acting(None, greedy=True)

    def learn(
        self,
        transitions: list[Transition],
        *,
        generator: random.Random,
        on_step: Callable[[StepReport], None],
    ) -> FitReport:
        """Train on `transitions` where Ray places it, as the recipe's learner section says. The list is empty
        afterwards: it is in Ray's store, which goes to the disk where it is large.

        Raises:
            TurnMixError: as in one process.
            InfrastructureError: more learners were lost than `cluster.worker_failures`.
        """
        import ray

        job = self._job(generator)
        lots = [ray.put(lot) for lot in _taken_in_lots(transitions)]
        desk = _desk_beside_this(job).remote(job, lots)
        try:
            running = desk.run.options(concurrency_group=RUNNING).remote()
            while True:
                ended, _ = ray.wait([running], timeout=_LOOK_SECONDS)
                news: News = ray.get(desk.news.remote())
                for line in news.losses:
                    self._say(f"{line}: the iteration's training begins again")
                for report in news.steps:
                    on_step(report)
                if ended:
                    break
            return _result_of(running)
        finally:
            ray.kill(desk)

    def save(self, checkpoint: Path) -> None:
        """Put what was learned in the place of `checkpoint`. Its server acts with it from now on."""
        from turnmix.training.checkpoint import put_in_place

        put_in_place(self._run / LEARNED / CHECKPOINT, checkpoint)
        shutil.rmtree(self._run / LEARNED, ignore_errors=True)
        self._checkpoint = checkpoint
        if self.server is not None:
            self.server.renew(weights_of(self._recipe, checkpoint=checkpoint))

    def close(self) -> None:
        """Nothing is held between iterations."""

    def _job(self, generator: random.Random) -> LearningJob:
        import ray

        place = (self._run / LEARNED).absolute()
        if place.is_symlink():  # somebody else's run: what it points at is not to be written or deleted
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        mark = secrets.token_hex(8)
        (place / MARK).write_text(mark)
        return LearningJob(
            recipe=self._recipe,
            desk=f"turnmix-{self._run.name}-learning-{mark}",
            namespace=ray.get_runtime_context().namespace,
            directory=Path.cwd(),
            checkpoint=None if self._checkpoint is None else self._checkpoint.absolute(),
            place=place,
            mark=mark,
            moment=self._moment,
            generator=generator,
        )

    def _acting(self, checkpoint: Path | None, *, greedy: bool) -> Policy:
        from turnmix.policies.local.loading import load_model
        from turnmix.policies.local.policy import LocalPolicy

        if checkpoint is None:
            model = frozen_base(self._recipe, device=self._recipe.student.device)
        else:
            model = load_model(checkpoint)[0].to(self._recipe.student.device).requires_grad_(False)
        return LocalPolicy(model, self.renderer, self._recipe.student, greedy=greedy)


def place_student(
    recipe: Recipe,
    *,
    teacher: Teacher,
    run: Path,
    checkpoint: Path | None,
    moment: datetime | None,
    make_server: MakeServing = make_student_server,
) -> PlacedStudent:
    """The student of `checkpoint`, None: the base model, in the run of that directory. The teacher is loaded too, where
    it acts or scores. `moment`: what templates show as now. `make_server`: makes what it acts through, if anything.

    Raises:
        UserError: it cannot be a student, or not that of the recipe's teacher.
    """
    from turnmix.assembly.machine import prepare_tensor_code
    from turnmix.training.forest import context_limit

    prepare_tensor_code(recipe)
    student = load_served_student(recipe, location=student_location(recipe.student), moment=moment)
    if recipe.acts:
        check_tools(student.renderer, recipe.offered_tools)
    teacher.load()
    return PlacedStudent(
        recipe=recipe,
        run=run,
        checkpoint=checkpoint,
        moment=moment,
        server=make_server(recipe, student),
        renderer=student.renderer,
        tokenizer=student.tokenizer,
        max_context=context_limit(student.model_configuration, recipe.learner.max_context),
    )


def _taken_in_lots(transitions: list[Transition]) -> Iterator[list[Transition]]:
    """Those of `LOT` trajectories at a time, which the list does not hold any more then."""
    transitions.reverse()
    one_by_one = (transitions.pop() for _ in range(len(transitions)))
    groups = (list(group) for _, group in groupby(one_by_one, lambda each: each.trajectory_id))
    while lot := [each for group in islice(groups, LOT) for each in group]:
        yield lot


def _desk_beside_this(job: LearningJob) -> Any:
    cluster = job.recipe.cluster
    assert cluster is not None
    # Ray Train reads them where it is called. Its own working directory would change what relative paths mean.
    environment = {
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": f"{2 * cluster.heartbeat_seconds:g}",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_METRICS_ENABLED": "0",
    }
    groups = {RUNNING: 1, MOVING: 4}
    return beside_this(LearningDesk, name=job.desk, concurrency_groups=groups, environment=environment)


def _result_of(running: Any) -> FitReport:
    """What the desk says. Raises what it raised, as it raised it."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        report: FitReport = ray.get(running)
    except RayTaskError as error:
        raise error.cause from None
    return report
