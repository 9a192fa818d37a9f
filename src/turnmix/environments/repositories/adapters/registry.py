"""Which adapter reads which published set, and a set's rows read one by one.

In: the name of a set, or its hub id, and untrusted rows. Out: rows of a task file, and each row that is
none with its number, its name and what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from turnmix.core.errors import UserError
from turnmix.core.settings import NAMES, Settings
from turnmix.environments.repositories.adapters.r2e_gym import from_r2e_gym
from turnmix.environments.repositories.adapters.swe_bench import (
    from_sky_rl,
    from_swe_bench,
    from_swe_gym,
    from_swe_rebench,
)
from turnmix.environments.repositories.adapters.swe_smith import from_swe_smith
from turnmix.environments.repositories.task_file import Rejection, TaskRow

SetName = Literal["swe-gym", "swe-bench", "sky-rl", "swe-smith", "r2e-gym", "swe-rebench"]
ADAPTERS: dict[SetName, Callable[[Mapping[str, Any]], TaskRow]] = {
    "swe-gym": from_swe_gym,
    "swe-bench": from_swe_bench,
    "sky-rl": from_sky_rl,
    "swe-smith": from_swe_smith,
    "r2e-gym": from_r2e_gym,
    "swe-rebench": from_swe_rebench,
}
HUB_IDS: dict[str, tuple[SetName, str]] = {
    "SWE-Gym/SWE-Gym": ("swe-gym", "train"),
    "SWE-Gym/SWE-Gym-Lite": ("swe-gym", "train"),
    "SWE-bench/SWE-bench_Verified": ("swe-bench", "test"),
    "SWE-bench/SWE-bench_Lite": ("swe-bench", "test"),
    "SWE-bench/SWE-bench": ("swe-bench", "test"),
    "princeton-nlp/SWE-bench_Verified": ("swe-bench", "test"),
    "princeton-nlp/SWE-bench_Lite": ("swe-bench", "test"),
    "princeton-nlp/SWE-bench": ("swe-bench", "test"),
    "NovaSky-AI/SkyRL-v0-293-data": ("sky-rl", "train"),
    "SWE-bench/SWE-smith": ("swe-smith", "train"),
    "R2E-Gym/R2E-Gym-Subset": ("r2e-gym", "train"),
    "nebius/SWE-rebench": ("swe-rebench", "filtered"),
    "nebius/SWE-rebench-V2": ("swe-rebench", "train"),
}
"""Each set's adapter, and the split that is taken where none is named."""


class DatasetSettings(Settings):
    """A published task set, from which `turnmix tasks prepare` writes the task file."""

    rows: str = Field(min_length=1)
    """A hub id, such as SWE-Gym/SWE-Gym, or a local parquet or JSON Lines file."""
    adapter: SetName | None = None
    """How its rows are read; left out, as the hub id says. A local file needs it."""
    split: str | None = None
    """The split of a hub id; left out, the usual one."""
    revision: str | None = None
    """The hub's commit or tag; left out, its newest."""
    limit: int | None = Field(default=None, ge=1)
    """The first so many tasks; null: all."""
    without_repositories: Annotated[tuple[str, ...], NAMES] = ()
    """Repositories to leave out, such as matplotlib/matplotlib."""

    def reader(self) -> Callable[[Mapping[str, Any]], TaskRow]:
        """Raises UserError: nothing says how the rows are read."""
        name = self.adapter or HUB_IDS.get(self.rows, (None, ""))[0]
        if name is None:
            raise UserError(
                f"tasks.dataset.adapter is not set, and {self.rows!r} is no hub id that is known: set it to one "
                f"of {', '.join(get_args(SetName))}"
            )
        return ADAPTERS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What the rows of a set came to."""

    rows: list[TaskRow]
    rejections: list[Rejection]
    left_out: int
    """Tasks of repositories that are not wanted."""


def adapt_rows(settings: DatasetSettings, rows: Iterable[Mapping[str, Any]]) -> Adapted:
    """Read the set's rows. A row whose id came before is rejected."""
    read = settings.reader()
    tasks: dict[str, TaskRow] = {}
    rejections: list[Rejection] = []
    left_out = 0
    for number, data in enumerate(rows, start=1):
        if len(tasks) == settings.limit:
            break
        try:
            row = read(data)
        except (ValueError, TypeError) as error:
            rejections.append(Rejection(line=number, instance_id=_name(data), reason=_reason(error)))
            continue
        if row.instance_id in tasks:
            rejections.append(
                Rejection(
                    line=number, instance_id=row.instance_id, reason="instance_id: another row has it too"
                )
            )
        elif row.repository in settings.without_repositories:
            left_out += 1
        else:
            tasks[row.instance_id] = row
    return Adapted(rows=list(tasks.values()), rejections=rejections, left_out=left_out)


def _name(data: Any) -> str:
    if not isinstance(data, Mapping):
        return "no instance_id"
    inner = data.get("instance")
    for place in (data, inner if isinstance(inner, Mapping) else {}):
        for key in ("instance_id", "commit_hash"):
            if isinstance(place.get(key), str):
                return str(place[key])[:200]
    return "no instance_id"


def _reason(error: ValueError | TypeError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'row'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in faults
    )
