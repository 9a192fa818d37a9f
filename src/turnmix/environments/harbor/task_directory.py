"""One Harbor task as its author laid it: what the agent is told, what its world needs, what grades it, what solves it.

In: a directory of a stranger's, of which nothing is run or unpacked here. Out: a `HarborTask`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.errors import UserError
from turnmix.environments.harbor.task_toml import TaskToml, UnsupportedTask, read_task_toml
from turnmix.environments.repositories.archive.files import directory_members
from turnmix.environments.tar_members import Member
from turnmix.environments.tar_writer import pack_members
from turnmix.sandboxes.settings import ImageBuild, SandboxNeeds

CONFIGURATION = "task.toml"
IGNORED = ".harborignore"
_CANARY = re.compile(r"(<!--.*canary.*-->|#.*canary.*)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{([^}:]+)(?::-(.*))?\}", re.DOTALL)
_MEBI = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HarborTask:
    """Read, and known to ask for nothing that TurnMix does not do."""

    directory: Path
    asks: TaskToml
    instruction: str

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def needs(self) -> SandboxNeeds:
        """Of the container that its agent works in, but for variables."""
        asked = self.asks.environment
        environment = self.directory / "environment"
        build = ImageBuild(directory=environment, seconds=asked.build_timeout_sec)
        memory, disk = asked.memory_mb or asked.memory, asked.storage_mb or asked.storage
        return SandboxNeeds(
            image=asked.docker_image,
            build=None if asked.docker_image else build,
            memory_bytes=memory and memory * _MEBI,
            disk_bytes=disk and disk * _MEBI,
            cpus=asked.cpus,
            seconds=(self.asks.agent.timeout_sec or 0) + self.asks.verifier.timeout_sec,
            network="none" if asked.is_offline else "wanted",
        )

    @property
    def laid_files(self) -> bytes | None:
        """Files that come into the working directory of an image that was made elsewhere, as a tar archive."""
        environment = self.directory / "environment"
        has_any = environment.is_dir() and any(environment.iterdir())
        if not self.asks.environment.docker_image or (environment / "Dockerfile").exists() or not has_any:
            return None
        return pack_members(directory_members(environment))

    def tests(self) -> bytes:
        """What grades it, as a tar archive. Raises UserError: it cannot be read."""
        return pack_members(directory_members(self.directory / "tests"))

    def solution(self) -> Sequence[Member]:
        """What solves it; nothing where nobody knows. Raises UserError: it cannot be read."""
        folder = self.directory / "solution"
        return [*directory_members(folder)] if (folder / "solve.sh").is_file() else []


def read_task(directory: Path) -> HarborTask:
    """
    Raises:
        UnsupportedTask: it asks for what TurnMix does not do.
        UserError: it is no task.
    """
    place = directory / CONFIGURATION
    try:
        asks = read_task_toml(place)
        place = directory / "instruction.md"
        instruction = _without_canary(read_bounded(place, most=MEBIBYTE).decode())
    except OSError as error:
        raise UserError(f"tasks.path: {place}: {error.strerror}: a Harbor task has one") from None
    except UnsupportedTask as error:
        raise UnsupportedTask(f"tasks.path: {place}: {error}") from None
    except ValueError as error:
        raise UserError(f"tasks.path: {place}: {error}: mend it, or take it away") from None
    _check_files(directory, asks)
    return HarborTask(directory=directory, asks=asks, instruction=instruction)


def _check_files(directory: Path, asks: TaskToml) -> None:
    for name in ("environment/docker-compose.yaml", "tests/docker-compose.yaml"):
        if (directory / name).exists():
            raise UnsupportedTask(
                f"tasks.path: {directory / name}: it has several containers, and TurnMix starts one"
            )
    for folder in ("tests", "solution"):
        if found := next(iter((directory / folder).rglob(IGNORED)), None):
            raise UnsupportedTask(f"tasks.path: {found}: TurnMix takes all files of a task, or none")
    wanted = (
        ["tests/test.sh"] if asks.environment.docker_image else ["tests/test.sh", "environment/Dockerfile"]
    )
    for name in wanted:
        if not (directory / name).is_file():
            raise UserError(f"tasks.path: {directory / name} is not there: a Harbor task has one")


def _without_canary(text: str) -> str:
    """An instruction without the lines at its head that mark it as not to be trained on: they are not for agents.

    >>> _without_canary("<!-- a canary: 12 -->\\n\\nDo it.\\n")
    'Do it.\\n'
    """
    lines = text.split("\n")
    first = next(
        (number for number, line in enumerate(lines) if not _CANARY.fullmatch(line.strip())), len(lines)
    )
    if first == 0:
        return text
    return "\n".join(lines[first:]).lstrip("\n")


def resolved(variables: Mapping[str, str], given: Mapping[str, str], *, where: str) -> dict[str, str]:
    """Variables of a task, with those of this process that it refers to, of which it gets `given` alone.

    Raises:
        UserError: it refers to another one.
    """
    values = {}
    for name, value in variables.items():
        found = _VARIABLE.fullmatch(value)
        if found is None or found[1] in given:
            values[name] = value if found is None else given[found[1]]
        elif found[2] is not None:
            values[name] = found[2]
        else:
            raise UserError(
                f"{where}: {name}: the task asks for a variable of yours, {found[1]}: set it, and name it in "
                f"tasks.variables={found[1]}, where you want to hand it to this task"
            )
    return values
