"""What a recipe says of a scaffold of the user's own: which it is, where it runs, and what becomes of its end."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat

from turnmix.core.doors import Door, DoorSettings
from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.core.plugins import is_plugin_name, load_plugin, loaded_plugin
from turnmix.core.settings import NAMES, Settings
from turnmix.gateway.scaffolds.command import CommandOutside
from turnmix.gateway.scaffolds.function import FunctionScaffold
from turnmix.gateway.scaffolds.sandboxed_command import CommandInside
from turnmix.gateway.scaffolds.work import RunScaffold

FIELD = "rollouts.scaffold"
Where = Literal["sandbox", "outside"]


class ForeignScaffoldSettings(DoorSettings):
    """A scaffold of your own, which asks student and teacher by HTTP as it would ask any model's endpoint."""

    kind: str
    """What the scaffold is."""
    seconds: PositiveFloat = 1800.0
    """Time of one trajectory's own doing, after which the scaffold is ended: how long a model takes to answer does not
    count."""
    failure: Literal["unresolved", "infra_error"] = "unresolved"
    """A scaffold that ends with an error, or leaves no report where the verdict is to come from it: unresolved, which
    counts; infra_error, which is tried again, and then excluded."""
    verdict: Literal["verifier", "report"] = "verifier"
    """Who says whether a task was resolved. verifier: the task's own; report: the scaffold, by a JSON object with
    `resolved`, and where there are some `reward` and `details`, which a command writes into the file TURNMIX_REPORT and
    a function returns."""
    label_seconds: PositiveFloat = 600.0
    """For the teacher's labels that are still unanswered when the scaffold has ended; then it is an infra_error."""

    def make(self, *, has_sandbox: bool) -> RunScaffold:
        """What runs it once for each trajectory. `has_sandbox`: tasks have one.

        Raises:
            UserError: it cannot run so.
        """
        raise NotImplementedError(f"{type(self).__name__} has no make")


class CommandSettings(ForeignScaffoldSettings):
    """A command, run once a trajectory."""

    kind: Literal["command"] = "command"
    command: str = Field(min_length=1)
    """A line for /bin/sh. It finds in its environment OPENAI_BASE_URL, OPENAI_API_KEY, ANTHROPIC_BASE_URL,
    ANTHROPIC_API_KEY, TURNMIX_MODEL and TURNMIX_TASK, the path of a JSON file with the task. Exit status 0: it has
    finished."""
    where: Where | None = None
    """sandbox: inside the task's sandbox, without a network but for the model; outside: on this machine, with your
    rights, from where `turnmix exec -- COMMAND` runs commands in the sandbox. Left out: sandbox, where tasks have
    one."""
    files: str | None = None
    """A file or a directory of yours that the command needs. It finds it at TURNMIX_FILES; inside a sandbox that is a
    copy."""
    directory: str | None = None
    """Where a command outside runs, all trajectories in the same; left out, each in an empty one of its own."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables that the command gets beside."""
    inherited_environment: Annotated[tuple[str, ...], NAMES] = ()
    """Variables of your own environment that the command gets too, by name. What runs in a sandbox can read them."""

    def make(self, *, has_sandbox: bool) -> RunScaffold:
        is_inside = self.where == "sandbox" or (self.where is None and has_sandbox)
        if is_inside and not has_sandbox:
            raise UserError(
                f"{FIELD}.where: 'sandbox': these tasks have no sandbox: set it to outside, or leave it out"
            )
        if is_inside:
            return CommandInside(
                command=self.command,
                files=_existing(self.files, "files"),
                environment=self.environment,
                inherited=self.inherited_environment,
            )
        return CommandOutside(
            command=self.command,
            directory=_existing(self.directory, "directory"),
            files=_existing(self.files, "files"),
            environment=self.environment,
            inherited=self.inherited_environment,
        )

    def check(self) -> Iterable[Finding]:
        _existing(self.files, "files")
        directory = _existing(self.directory, "directory")
        if directory is not None and not directory.is_dir():
            raise UserError(f"{FIELD}.directory: {self.directory!r}: it is no directory")
        missing = [name for name in self.inherited_environment if name not in os.environ]
        if missing:
            raise UserError(
                f"{FIELD}.inherited_environment: {missing[0]} is not set here: set it, or leave it out"
            )
        word = _program(self.command)
        if self.where == "outside" and word is not None:
            found = shutil.which(word)
            detail = found or f"there is no program {word} here"
            yield Finding(subject=f"{FIELD}.command", passed=found is not None, detail=detail)


class ExternalSettings(ForeignScaffoldSettings):
    """Scaffolds start themselves: `turnmix gateway` serves each iteration to them, and `turnmix train --resume` learns
    from it."""

    kind: Literal["external"] = "external"
    host: str = "127.0.0.1"
    """Where the gateway listens. Elsewhere than on this machine, opening a session needs the key in the variable
    TURNMIX_GATEWAY_KEY."""
    port: int = Field(default=8642, ge=0, le=65535)
    """0: any that is free; it is told."""

    def make(self, *, has_sandbox: bool) -> RunScaffold:
        raise UserError(
            f"{FIELD}.kind: 'external': such rollouts are served by `turnmix gateway RECIPE --run DIR`, and learned by "
            "`turnmix train --resume DIR` then: for scaffolds that train starts itself, set it to command"
        )


class FunctionSettings(ForeignScaffoldSettings):
    """A function of yours, called once a trajectory with what a scaffold needs."""

    kind: str

    def make(self, *, has_sandbox: bool) -> RunScaffold:
        return FunctionScaffold(load_plugin(self.kind, field=f"{FIELD}.kind"), name=self.kind)


class ScaffoldDoor(Door):
    """Beside settings classes it takes functions."""

    def load(self, name: str) -> type[Settings]:
        """As for every door; a function is run with the settings that all kinds have."""
        found = load_plugin(name, field=self.field)
        return FunctionSettings if inspect.isroutine(found) else super().load(name)

    def known(self, given: Mapping[str, Any]) -> type[Settings] | None:
        kind = self.kind_of(given)
        is_function = is_plugin_name(kind) and inspect.isroutine(loaded_plugin(str(kind)))
        return FunctionSettings if is_function else super().known(given)


SCAFFOLDS = ScaffoldDoor(
    field=f"{FIELD}.kind",
    base=ForeignScaffoldSettings,
    kinds=(CommandSettings, ExternalSettings),
    implied=lambda given: "command",
    may_be_left_out=True,
)


def _existing(path: str | None, name: str) -> Path | None:
    if path is None:
        return None
    found = Path(os.path.abspath(os.path.expanduser(path)))
    if not found.exists():
        raise UserError(f"{FIELD}.{name}: {path!r}: there is no {found}")
    return found


def _program(command: str) -> str | None:
    """The program that a line begins with, where that is certain: a plain word, and no path that it makes itself."""
    word = command.split()[0]
    return (
        word if word.replace("-", "").replace("_", "").replace("/", "").replace(".", "").isalnum() else None
    )
