"""The stage that takes in trajectories from elsewhere, instead of rolling any out.

In: trajectories, dealt to the iterations. Out: the same ones on the disk, and figures as of rollouts. The first
iteration stores those of all, so that a run needs the files no more once that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Trajectory
from turnmix.loop.parts import Progress, Student
from turnmix.rollout.teacher_share import teacher_share
from turnmix.store.run_directory import RunDirectory


class ImportingStage:
    """`take_in` is called with its iteration."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        imported: Callable[[], Sequence[Trajectory]],
        student: Student,
        progress: Progress,
        tick: Callable[[], None],
    ) -> None:
        """`imported` is called while there is something to take in. `tick` is called after each trajectory."""
        self._run = run
        self._imported = imported
        self._student = student
        self._progress = progress
        self._tick = tick

    def take_in(self, iteration: int) -> dict[str, Any]:
        """The iteration's trajectories.

        Raises:
            UserError: the run was begun with other rows.
        """
        if iteration == 1:
            self._store()
        ids = self._run.trajectories.ids_of(f"i{iteration:03d}")
        trajectories = list(self._run.trajectories.read(ids))
        verdicts = [each.verdict for each in trajectories if each.verdict is not None]
        share = teacher_share(trajectories)
        return {
            "is_imported": True,
            "beta": None,
            "realised_beta": share.by_turns,
            "realised_beta_tokens": share.by_tokens,
            "rollouts": len(trajectories),
            "turns": share.num_turns,
            "drift": self._student.drift(trajectories).to_json(),
            "teacher": None,
            "control_texts": self._student.control_texts(trajectories).to_json(),
            "resolved": sum(each.resolved for each in verdicts) if verdicts else None,
            "submitted": None,
            "stop_reasons": {},
            "infra_errors": 0,
            "usage": {},
        }

    def _store(self) -> None:
        trajectories, log = self._imported(), self._run.trajectories
        self._progress.begin("rollout", 1, total=len(trajectories), done=len(log))
        for number, each in enumerate(trajectories, start=1):
            if each.id not in log:
                log.append(each)
            elif next(log.read([each.id])) != each:
                raise UserError(
                    f"data.messages: the row that became {each.id} is another one than when the run began: put the "
                    "files back as they were, or begin another run with --run"
                )
            self._progress.advance("rollout", 1, done=number, note="trajectories taken in")
            self._tick()
