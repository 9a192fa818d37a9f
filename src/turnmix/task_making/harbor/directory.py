"""One Harbor task directory, written.

In: what it is made of. Out: files that Harbor's own runner takes. Where one lies already, nothing is written.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.environments.workspace_files import GIT_REPOSITORY

GIT = (
    "RUN command -v git > /dev/null || { apt-get update && apt-get install -y --no-install-recommends git && "
    "rm -rf /var/lib/apt/lists/*; }"
)
SOLVE = """\
#!/bin/sh
set -e
cd {directory}
git apply --whitespace=nowarn /solution/gold.patch
"""
REWARD = "/logs/verifier/reward.txt"
SLACK_SECONDS = 300.0
"""That the tests' own work may take beside the tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What a task does not say of itself."""

    image: str
    """From which its image is made."""
    commands: tuple[str, ...] = ()
    """That are run in it, as to install what the tests need."""
    agent_seconds: float
    has_network: bool = False
    """May the agent have one? Not all of Harbor's environments can deny it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarborDirectory:
    """A repository with a bug, in Harbor's format."""

    name: str
    problem_statement: str
    working_directory: str
    repository: Mapping[str, bytes]
    """What lies in `environment/` beside the Dockerfile."""
    lay: tuple[str, ...]
    """Lines of the Dockerfile that bring it into the working directory, once git is there."""
    tests: Mapping[str, bytes]
    gold_patch: bytes
    test_seconds: float
    variables: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path, settings: ExportSettings) -> Path:
        """Raises UserError: a directory of its name is there, or cannot be made."""
        directory = folder / self.name
        told = f"{self.problem_statement.rstrip()}\n\nThe repository is in {self.working_directory}.\n"
        files = {
            "task.toml": self._configuration(settings).encode(),
            "instruction.md": told.encode(),
            "environment/Dockerfile": self._dockerfile(settings).encode(),
            **{f"environment/{path}": content for path, content in self.repository.items()},
            **{f"tests/{path}": content for path, content in self.tests.items()},
            "solution/solve.sh": SOLVE.format(directory=shlex.quote(self.working_directory)).encode(),
            "solution/gold.patch": self.gold_patch,
        }
        try:
            directory.mkdir(parents=True)
            for path, content in files.items():
                place = directory / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
                if path.endswith(".sh"):
                    place.chmod(0o755)
        except FileExistsError:
            raise UserError(f"{directory} is there already: remove it, or name another directory") from None
        except OSError as error:
            raise UserError(f"{error.filename}: {error.strerror}: name another directory") from None
        return directory

    def _configuration(self, settings: ExportSettings) -> str:
        lines = [
            'schema_version = "1.1"',
            "[task]",
            f"name = {json_text(f'turnmix/{self.name}')}",
            "[verifier]",
            f"timeout_sec = {self.test_seconds + SLACK_SECONDS:.1f}",
            "[agent]",
            f"timeout_sec = {settings.agent_seconds:.1f}",
            "[environment]",
            *([] if settings.has_network else ['network_mode = "no-network"']),
        ]
        return "\n".join(lines) + "\n"

    def _dockerfile(self, settings: ExportSettings) -> str:
        lines = [
            f"FROM {settings.image}",
            GIT,
            *(f"RUN {command}" for command in settings.commands),
            *(f"ENV {name}={json_text(value)}" for name, value in self.variables.items()),
            f"WORKDIR {self.working_directory}",
            *self.lay,
            "RUN " + GIT_REPOSITORY.replace("\\\n", ""),
        ]
        return "\n".join(lines) + "\n"
