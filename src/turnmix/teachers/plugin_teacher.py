"""A teacher of the user's own, watched: what fails in it by mistake is told with its own file and line.

What it raises on purpose passes: a `TeacherError`, which is tried again, or a `UserError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from turnmix.core.doors import findings_of
from turnmix.core.errors import PluginError
from turnmix.core.finding import Finding
from turnmix.core.plugins import telling_faults
from turnmix.core.trajectory import Action, State
from turnmix.core.usage import Usage
from turnmix.policies.policy import Episode, Metered, Policy, PolicySession
from turnmix.policies.scoring import Keep, Scorer, ScoreRequest
from turnmix.policies.teacher import FrozenModel, StudentTokens, Teacher, TeacherSettings


class PluginTeacher(Teacher):
    """`teacher`, which these settings made."""

    def __init__(self, teacher: Teacher, settings: TeacherSettings) -> None:
        self._teacher = teacher
        self._settings = settings
        self._name = settings.kind

    def check(self, *, is_hurried: bool) -> Iterable[Finding]:
        findings = findings_of(self._settings)
        with telling_faults(self._name):
            return [*findings, *self._teacher.check(is_hurried=is_hurried)]

    def check_scoring(self, student: StudentTokens) -> Iterable[Finding]:
        with telling_faults(self._name):
            return list(self._teacher.check_scoring(student))

    def load(self) -> None:
        with telling_faults(self._name):
            self._teacher.load()

    def policy(self) -> Policy:
        with telling_faults(self._name):
            return plugin_policy(self._teacher.policy(), name=self._name)

    def scorer(self, student: StudentTokens) -> Scorer:
        with telling_faults(self._name):
            return _PluginScorer(self._teacher.scorer(student), name=self._name)

    def frozen_model(self) -> FrozenModel | None:
        with telling_faults(self._name):
            return self._teacher.frozen_model()


def plugin_policy(policy: Policy, *, name: str) -> Policy:
    """`policy`, of the plugin `name`."""
    return _PluginPolicy(policy, name=name)


class _PluginPolicy:
    def __init__(self, policy: Policy, *, name: str) -> None:
        self.name = policy.name
        self._policy = policy
        self._plugin = name

    def begin(self, episode: Episode) -> PolicySession:
        with telling_faults(self._plugin):
            session = self._policy.begin(episode)
        told = _PluginMeteredSession if isinstance(session, Metered) else _PluginSession
        return told(session, name=self._plugin)

    async def close(self) -> None:
        with telling_faults(self._plugin):
            await self._policy.close()


class _PluginSession:
    def __init__(self, session: PolicySession, *, name: str) -> None:
        self._session = session
        self._name = name

    async def look(self) -> None:
        with telling_faults(self._name):
            await self._session.look()

    async def act(self, state: State) -> Action:
        with telling_faults(self._name):
            action = await self._session.act(state)
            if not isinstance(action, Action):
                raise TypeError(f"act() gave {action!r:.100}, not an Action")
            if action.message.role != "assistant":
                raise ValueError(f"act() gave a message of role {action.message.role}, not assistant")
        return action

    async def close(self) -> None:
        with telling_faults(self._name):
            await self._session.close()


class _PluginMeteredSession(_PluginSession):
    @property
    def usage(self) -> Usage:
        assert isinstance(self._session, Metered)
        with telling_faults(self._name):
            return self._session.usage


class _PluginScorer:
    def __init__(self, scorer: Scorer, *, name: str) -> None:
        self._scorer = scorer
        self._name = name

    @property
    def usage(self) -> Usage:
        with telling_faults(self._name):
            return self._scorer.usage

    def score(self, requests: Iterable[ScoreRequest], keep: Keep) -> None:
        lengths: dict[str, list[int]] = {}
        not_kept: list[OSError] = []

        def asked() -> Iterator[ScoreRequest]:
            for request in requests:
                lengths[request.trajectory_id] = [len(path.target_ids) for path in request.paths]
                yield request

        def kept(trajectory_id: str, scores: list[list[float | None]]) -> None:
            wanted, given = lengths.pop(trajectory_id, None), [len(path) for path in scores]
            if given != wanted:
                raise ValueError(
                    f"score() gave {given} numbers for the paths of {trajectory_id}, not {wanted}"
                )
            try:
                keep(trajectory_id, scores)
            except OSError as error:  # of the run's directory
                not_kept.append(error)
                raise

        try:
            with telling_faults(self._name):
                self._scorer.score(asked(), kept)
                if lengths:
                    raise ValueError(f"score() gave nothing for {next(iter(lengths))}")
        except PluginError:
            if not_kept:
                raise not_kept[0] from None
            raise
