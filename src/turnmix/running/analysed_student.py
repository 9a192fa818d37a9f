"""A student that is looked at: it acts, and says what it thinks of the teacher's labels, and of its own tokens.

In: a checkpoint. Out: policies, and scores of trajectories. Its model is loaded into this process when it is first
needed: to judge tokens also where a server acts for it, whose answers would tell less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from turnmix.analysis.scored import TurnScore
from turnmix.assembly.student import ActingStudent, acting_student, load_acting_student
from turnmix.assembly.teacher import student_tokens
from turnmix.core.errors import UserError
from turnmix.core.trajectory import Action, Trajectory
from turnmix.core.untaught import Objection
from turnmix.methods.targets import taught_labels
from turnmix.policies.policy import Policy
from turnmix.policies.scoring import ScoreRequest, TokenPath
from turnmix.policies.teacher import StudentTokens, Teacher
from turnmix.recipe.recipe import Recipe
from turnmix.rendering.readback import written_target
from turnmix.rendering.vocabulary import vocabulary_size

if TYPE_CHECKING:
    from turnmix.training.tree_scorer import TreeScorer

Sampling = Literal["greedy", "trained", "plain"]
"""trained: as its recipe samples in rollouts; plain: at temperature 1 from all that it may say, so that its tokens are
a sample of it."""
StepKind = Callable[[Action], str | None]
"""What sort of step an action is, as the tasks' world names it."""
Scores = Iterator[tuple[str, list[TurnScore | None]]]
"""The id of each trajectory, and what is said of each of its turns."""


class AnalysedStudent:
    """Costs nothing before it is asked."""

    def __init__(self, recipe: Recipe, *, location: str, moment: datetime | None) -> None:
        """`location`: where its weights lie. `moment`: what its template shows as now."""
        self._recipe = recipe
        self._location = location
        self._moment = moment
        self._loaded: ActingStudent | None = None

    def load(self) -> None:
        """Raises UserError: it is no student, or not on this machine."""
        if self._recipe.student.server is None:
            self._here()

    def policy(self, sampling: Sampling) -> Policy:
        """Acting alone, to be closed by the caller."""
        settings, greedy = self._recipe.student, sampling == "greedy"
        if sampling == "plain":
            settings = settings.model_copy(update={"temperature": 1.0, "top_p": 1.0})
        recipe = self._recipe.model_copy(update={"student": settings})
        if settings.server is not None:
            return acting_student(recipe, location=self._location, moment=self._moment, greedy=greedy)
        here = self._here()
        return ActingStudent(recipe, here.model, here.tokenizer, here.renderer).policy(greedy=greedy)

    def judged_labels(self, trajectories: Iterable[Trajectory], *, step_kind: StepKind) -> Scores:
        """What it thinks of the label of each turn. None: there is no label. A label that it cannot say, or that is
        not taught, has a kind alone."""
        asked: dict[str, list[TurnScore | None]] = {}

        def requests() -> Iterator[ScoreRequest]:
            for trajectory in trajectories:
                kinds = [None if turn.label is None else step_kind(turn.label) for turn in trajectory.turns]
                paths = self._label_paths(trajectory)
                asked[trajectory.id] = [
                    None
                    if turn.label is None
                    else TurnScore(
                        label_kind=kind, label_tokens=None if path is None else len(path.target_ids)
                    )
                    for turn, kind, path in zip(trajectory.turns, kinds, paths, strict=True)
                ]
                found = [path for path in paths if path is not None]
                yield ScoreRequest(trajectory_id=trajectory.id, paths=found)

        for trajectory_id, told in self._scorer().judged(requests()):
            of_paths = iter(told)
            scores: list[TurnScore | None] = []
            for each in asked.pop(trajectory_id):
                if each is None or each.label_tokens is None:
                    scores.append(each)
                    continue
                tokens = next(of_paths)
                logprobs = [token.logprob for token in tokens]
                scores.append(
                    TurnScore(
                        label_kind=each.label_kind,
                        label_tokens=each.label_tokens,
                        label_nll=None if None in logprobs else max(0.0, -sum(filter(None, logprobs))),
                        is_greedy=all(token.is_likeliest for token in tokens),
                    )
                )
            yield trajectory_id, scores

    def objection_to(self, teacher: Teacher) -> str | None:
        """Why the teacher cannot be compared with it; None: it can."""
        try:
            if (frozen := teacher.frozen_model()) is not None:
                from turnmix.teachers.local import shared_vocabulary

                shared_vocabulary(frozen, self._here().tokenizer)
                return None
            findings = teacher.check_scoring(self.tokens())
        except UserError as error:
            return str(error)
        return next((each.detail for each in findings if each.passed is False), None)

    def divergences(self, trajectories: Iterable[Trajectory], *, teacher: Teacher) -> Scores:
        """How far it is from the teacher in the tokens that it sampled: exact over the vocabulary where the teacher's
        model is in this process; else by these tokens alone, which is right on average.

        Raises:
            UserError: the teacher gives no log-probabilities of them.
            InfrastructureError: it could not be asked.
        """
        paths = {each.id: self._sampled_paths(each) for each in trajectories}

        def requests() -> Iterator[ScoreRequest]:
            for trajectory_id, found in paths.items():
                yield ScoreRequest(
                    trajectory_id=trajectory_id, paths=[path for path in found if path is not None]
                )

        frozen = teacher.frozen_model()
        if frozen is not None:
            from turnmix.teachers.local import shared_vocabulary
            from turnmix.training.tree_scorer import TreeDivergence

            here = self._here()
            exact = TreeDivergence(
                here.model,
                frozen.model,
                vocabulary=shared_vocabulary(frozen, here.tokenizer),
                tokens_per_pass=self._recipe.learner.tokens_per_pass,
            )
            for trajectory_id, found in exact.divergences(requests()):
                yield trajectory_id, _by_turn(paths[trajectory_id], found)
            return
        own = {
            trajectory_id: [[token.logprob for token in path] for path in told]
            for trajectory_id, told in self._scorer().judged(requests())
        }
        estimated: dict[str, list[list[float | None]]] = {}
        scorer = teacher.scorer(self.tokens())
        scorer.score(requests(), estimated.__setitem__)
        for trajectory_id in paths:
            differences = [
                [
                    None if ours is None or theirs is None else ours - theirs
                    for ours, theirs in zip(*pair, strict=True)
                ]
                for pair in zip(own[trajectory_id], estimated[trajectory_id], strict=True)
            ]
            yield trajectory_id, _by_turn(paths[trajectory_id], differences)

    def tokens(self) -> StudentTokens:
        """Whose tokens the teacher scores."""
        here = self._here()
        return student_tokens(self._recipe, here.tokenizer, max_context=self._max_context())

    def _label_paths(self, trajectory: Trajectory) -> list[TokenPath | None]:
        return [
            None if label is None else self._path(trajectory, index, label)
            for index, label in enumerate(taught_labels(trajectory))
        ]

    def _sampled_paths(self, trajectory: Trajectory) -> list[TokenPath | None]:
        return [
            self._path(trajectory, index, turn.action)
            if turn.actor == "student" and turn.action.token_ids
            else None
            for index, turn in enumerate(trajectory.turns)
        ]

    def _path(self, trajectory: Trajectory, turn: int, action: Action) -> TokenPath | None:
        """None: the student cannot say it, or it lies behind the longest context that it learns from."""
        renderer, state = self._here().renderer, trajectory.state(turn)
        target = written_target(renderer, state, action)
        if isinstance(target, Objection):
            return None
        prompt = tuple(renderer.prompt_ids(state))
        is_too_long = len(prompt) + len(target) > self._max_context()
        return None if is_too_long else TokenPath(prompt_ids=prompt, target_ids=tuple(target))

    def _max_context(self) -> int:
        from turnmix.training.forest import context_limit

        return context_limit(self._here().model.config, self._recipe.learner.max_context)

    def _scorer(self) -> TreeScorer:
        from turnmix.training.architecture import check_architecture
        from turnmix.training.tree_scorer import TreeScorer

        here = self._here()
        check_architecture(here.model)
        return TreeScorer(
            here.model,
            vocabulary=vocabulary_size(here.tokenizer),
            tokens_per_pass=self._recipe.learner.tokens_per_pass,
            section="student",
        )

    def _here(self) -> ActingStudent:
        if self._loaded is None:
            self._loaded = load_acting_student(self._recipe, location=self._location, moment=self._moment)
        return self._loaded


def _by_turn(
    paths: Sequence[TokenPath | None], found: Sequence[Sequence[float | None]]
) -> list[TurnScore | None]:
    """Of each turn its sum over the tokens of which it is known."""
    of_paths = iter(found)
    scores: list[TurnScore | None] = []
    for path in paths:
        known = [] if path is None else [each for each in next(of_paths) if each is not None]
        scores.append(TurnScore(reverse_kl=sum(known), reverse_kl_tokens=len(known)) if known else None)
    return scores
