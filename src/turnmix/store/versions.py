"""With what a run, or an evaluation, was made, and when: versions, platform, git revision and code of the user's own,
in `versions.json`."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path

import turnmix
from turnmix.core.atomic_file import write_atomically
from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.child_environment import child_environment
from turnmix.core.doors import plugin_names
from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.core.plugin_versions import plugin_versions
from turnmix.core.yaml_text import yaml_value
from turnmix.store.record_files import read_versions

VERSIONS = "versions.json"
_BEGUN = "begun"
_PLUGINS = "plugins"
PACKAGES = ("torch", "transformers", "tokenizers", "pydantic", "numpy")


def versions() -> dict[str, str | None]:
    """By name; None for what is not there."""
    found: dict[str, str | None] = {
        "turnmix": turnmix.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git_revision": git_revision(Path(turnmix.__file__).parent),
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def write_versions(
    directory: Path, *, recipe_yaml: str, begun: datetime, descriptor: int | None = None
) -> None:
    """Note those now running, the plugins that the recipe names among them, and when that was. `descriptor`: of the
    directory, opened before."""
    plugins = plugin_versions(plugin_names(yaml_value(recipe_yaml)))
    noted = {
        **versions(),
        **({_PLUGINS: plugins} if plugins else {}),
        _BEGUN: begun.isoformat(timespec="seconds"),
    }
    write_atomically(directory / VERSIONS, json_text(noted, indent=2) + "\n", directory=descriptor)


def when_begun(directory: Path) -> datetime | None:
    """When what lies in `directory` was begun; None: that was not noted."""
    path = directory / VERSIONS
    noted = read_versions(path).get(_BEGUN) if path.is_file() else None
    try:
        return None if noted is None else datetime.fromisoformat(noted)
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({_BEGUN}: {error}): put it back, or delete the directory"
        ) from None


def changed_versions(directory: Path, *, recipe: Path) -> Iterator[str]:
    """What differs between the versions noted in `directory` and those now running. `recipe`: the stored one."""
    begun = read_versions(directory / VERSIONS)
    for name, now in versions().items():
        if begun.get(name) != now:
            yield f"{name} was {begun.get(name)}, is {now}"
    noted = begun.get(_PLUGINS, {})
    for name, version in plugin_versions(_named(recipe)).items():
        if noted.get(name) != version:
            yield f"the plugin {name} was {noted.get(name)}, is {version}"


def _named(recipe: Path) -> set[str]:
    """The plugins that a stored recipe names."""
    try:
        return plugin_names(yaml_value(read_bounded(recipe, most=MEBIBYTE).decode()))
    except (OSError, ValueError) as error:
        raise UserError(f"{recipe} cannot be read ({error}): put it back, or delete the directory") from None


def git_revision(package: Path) -> str | None:
    """The revision of the checkout that tracks the package, `+changes` when files differ; else None."""
    try:
        # An installation below some other project's checkout is not of that checkout.
        if _git(package, "ls-files", "--", "__init__.py") == "":
            return None
        changes = _git(package, "status", "--porcelain", "--", ".")
        return _git(package, "rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=10, env=child_environment()
    )
    return done.stdout.strip()
