"""A Harbor task's `task.toml`, as far as TurnMix can do what it asks.

In: a file of a stranger's. Out: settings; or what in it TurnMix does not do, by name: nothing is left undone silently.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, ValidationError

from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

UNSUPPORTED = {
    "steps": "it has several steps, and TurnMix rolls out tasks of one",
    "verifier.environment": "its tests run in an environment of their own",
    "verifier.collect": "it collects from services",
    "agent.network_mode": "its agent has a network of its own",
    "agent.allowed_hosts": "its agent has a network of its own",
    "verifier.network_mode": "its tests have a network of their own",
    "verifier.allowed_hosts": "its tests have a network of their own",
    "environment.allowed_hosts": "it may reach some hosts alone",
    "environment.gpus": "it needs a GPU",
    "environment.tpu": "it needs a TPU",
    "environment.mcp_servers": "it needs MCP servers",
    "environment.skills_dir": "it brings skills",
    "environment.healthcheck": "it waits for a service",
}
"""What TurnMix does not do where a task asks for it; and what that is."""
UNHEEDED = ("task", "metadata", "source", "artifacts", "multi_step_reward_strategy", "environment.gpu_types")
"""On which neither what an agent can do nor its reward depends."""
_NOTHING: tuple[Any, ...] = (None, "", 0, [], {})


class UnsupportedTask(ValueError):
    """The task asks for what TurnMix does not do."""


def _as_root(user: Any) -> Any:
    if user not in (None, "root", "0", 0):
        raise ValueError("TurnMix's containers have root alone")
    return user


def _megabytes(size: Any) -> Any:
    """Harbor's older way: 2G, 512M, 100K."""
    scale = {"G": 1024.0, "M": 1.0, "K": 1 / 1024}
    unit = size.strip().upper()[-1:] if isinstance(size, str) else ""
    return int(float(size.strip()[:-1]) * scale[unit]) if unit in scale else size


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


User = Annotated[Any, AfterValidator(_as_root)]
Variables = dict[str, str]


class Verifier(Settings):
    timeout_sec: PositiveFloat = 600.0
    env: Variables = Field(default_factory=dict)
    user: User = None
    environment_mode: Literal["shared"] | None = None


class Agent(Settings):
    timeout_sec: PositiveFloat | None = None
    user: User = None


class Solution(Settings):
    env: Variables = Field(default_factory=dict)


class Environment(Settings):
    build_timeout_sec: PositiveFloat = 600.0
    docker_image: str | None = None
    os: Annotated[Literal["linux"], BeforeValidator(_lower)] = "linux"
    cpus: PositiveFloat | None = None
    memory_mb: PositiveInt | None = None
    memory: Annotated[PositiveInt | None, BeforeValidator(_megabytes)] = None
    storage_mb: PositiveInt | None = None
    storage: Annotated[PositiveInt | None, BeforeValidator(_megabytes)] = None
    env: Variables = Field(default_factory=dict)
    workdir: Annotated[str, Field(pattern="^/")] | None = None
    network_mode: Literal["public", "no-network"] | None = None
    allow_internet: bool | None = None

    @property
    def is_offline(self) -> bool:
        """May nothing be reached? Harbor's default is that all may."""
        return self.network_mode == "no-network" or (
            self.network_mode is None and self.allow_internet is False
        )


class TaskToml(Settings):
    """What Harbor and TurnMix both understand."""

    schema_version: str = Field(default="1.0", pattern=r"^1\.\d+$")
    verifier: Verifier = Verifier()
    agent: Agent = Agent()
    environment: Environment = Environment()
    solution: Solution = Solution()


def read_task_toml(path: Path) -> TaskToml:
    """
    Raises:
        UnsupportedTask: it asks for what TurnMix does not do.
        ValueError: it is no task.toml.
        OSError: it cannot be read.
    """
    try:
        data = tomllib.loads(read_bounded(path, most=MEBIBYTE).decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no TOML: {error}") from None
    if "version" in data:
        data.setdefault("schema_version", data.pop("version"))
    for name in UNHEEDED:
        _taken(data, name)
    for name, what in UNSUPPORTED.items():
        value = _taken(data, name)
        # An empty verifier.environment asks for one too.
        if _is_something(value) or (name == "verifier.environment" and value is not None):
            raise UnsupportedTask(f"{name}: {what}: TurnMix does not do that")
    try:
        return TaskToml.model_validate(data)
    except ValidationError as error:
        raise UnsupportedTask(_fault(error)) from None


def _taken(data: dict[str, Any], name: str) -> Any:
    section, _, key = name.rpartition(".")
    held = data.get(section) if section else data
    return held.pop(key, None) if isinstance(held, dict) else None


def _is_something(value: Any) -> bool:
    return not any(value is each or (value == each and type(value) is type(each)) for each in _NOTHING)


def _fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{name}: TurnMix knows no such key, and leaves nothing undone that a task asks for"
    given = fault["input"]
    shown = given if not isinstance(given, float) or math.isfinite(given) else str(given)
    return f"{name} = {shown!r:.100}: {fault['msg'].removeprefix('Value error, ')}"
