"""OpenEnv servers (PyPI openenv-core, or any that speaks as they do): a server at an address makes the worlds.

In: an address. Out: a task source; an episode's seed is its task. Each episode is one session of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field

from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.core.finding import Finding
from turnmix.core.task import Task
from turnmix.environments.environment import Split, TaskParts
from turnmix.environments.planner import Call, OwnExpert, asked_expert, call_of, planner_policy
from turnmix.environments.worlds.openenv_environment import OpenEnvEnvironment
from turnmix.environments.worlds.openenv_session import OpenEnvSession, action_schema, websockets_client
from turnmix.environments.worlds.source import WorldSettings, WorldTasks
from turnmix.policies.scripted import ScriptedPolicy

GAME = "openenv"


class OpenEnvSettings(WorldSettings):
    """Tasks of an OpenEnv server."""

    source: Literal["openenv"] = "openenv"
    url: str = Field(pattern=r"^(https?|wss?)://[^\s/]+(/\S*)?$")
    """Where the server listens: http://127.0.0.1:8000."""
    options: Mapping[str, Any] = {}
    """Further arguments of its reset, beside the task's seed."""
    instructions: str = "You act in a world. Each turn, do one thing with a tool."
    """What the agent is told before everything else."""
    expert: OwnExpert = None
    """Who knows the way, package.module:Name: called with the first observation, as JSON, it returns a function that is
    asked once in each state: given the last observation, it returns the name of a tool (act, where the server has no
    MCP tools) and its arguments, or None where nothing helps."""
    resolved_above: float = 0.0
    """A task is resolved where the rewards of its steps add up to more than this."""
    answer_seconds: float = Field(default=60.0, gt=0)
    """A server that takes longer for one answer has failed."""

    def check(self) -> list[Finding]:
        """Raises UserError: a package is missing, or no such server answers."""
        websockets_client()
        try:
            run_coroutine(action_schema(self.url, seconds=self.answer_seconds))
        except InfrastructureError as error:
            raise UserError(f"tasks.url: {error}") from error
        return [Finding(subject="tasks", passed=True, detail=f"an OpenEnv server answers at {self.url}")]

    def make(self, parts: TaskParts) -> OpenEnvSource:
        websockets_client()
        return OpenEnvSource(self, most_characters=parts.scaffold.max_observation_characters)

    def planner(self, first: Mapping[str, Any]) -> Callable[[Any], Call | None]:
        """The user's expert, from the first observation."""
        return asked_expert(str(self.expert), first, form=call_of)


class OpenEnvSource:
    """Episodes of one server, each task a seed."""

    def __init__(self, settings: OpenEnvSettings, *, most_characters: int) -> None:
        self._settings = settings
        self._most_characters = most_characters
        self._schema: Mapping[str, Any] | None = None

    def tasks(self, split: Split) -> WorldTasks:
        return WorldTasks(self._settings, split, [GAME])

    def environment(self, task: Task) -> OpenEnvEnvironment:
        settings = self._settings
        return OpenEnvEnvironment(
            OpenEnvSession(settings.url, seconds=settings.answer_seconds),
            schema=self._action_schema,
            reset_options={**settings.options, "seed": task.fields["seed"]},
            system=settings.instructions,
            max_turns=settings.max_turns,
            most_characters=self._most_characters,
            resolved_above=settings.resolved_above,
            make_planner=None if settings.expert is None else settings.planner,
        )

    def expert(self) -> ScriptedPolicy | None:
        """Does what the user's own says."""
        return None if self._settings.expert is None else planner_policy()

    async def _action_schema(self) -> Mapping[str, Any]:
        if self._schema is None:
            self._schema = await action_schema(self._settings.url, seconds=self._settings.answer_seconds)
        return self._schema
