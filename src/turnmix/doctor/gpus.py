"""The GPUs of this machine, and which of them a server that the run starts has for itself.

In: what nvidia-smi tells, CUDA_VISIBLE_DEVICES of this process and of the server. Out: cards with their memory.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from turnmix.core.child_environment import child_environment
from turnmix.policies.server.card import VISIBLE, told_share, width
from turnmix.policies.server.settings import ServerSettings
from turnmix.recipe.recipe import Recipe

QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.total,memory.free", "--format=csv,noheader,nounits"]
ANSWER_SECONDS = 20.0
"""Cards that nothing holds open are woken first, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One card."""

    index: str
    """Of all on the machine."""
    uuid: str
    total: float
    """Bytes; so too below."""
    free: float

    def is_named(self, word: str) -> bool:
        """By a word of CUDA_VISIBLE_DEVICES, which may be the beginning of a UUID."""
        return word == self.index or (word.startswith("GPU-") and self.uuid.startswith(word))


def read_gpus() -> list[Gpu]:
    """Those that this process may use, in its order."""
    try:
        told = subprocess.run(
            QUERY, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True, env=child_environment()
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    gpus = []
    for line in told.splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) == 4 and words[2].isdecimal() and words[3].isdecimal():
            total, free = float(words[2]) * 2**20, float(words[3]) * 2**20
            gpus.append(Gpu(index=words[0], uuid=words[1], total=total, free=free))
    return _named(gpus, os.environ.get(VISIBLE))


def left_by_server(recipe: Recipe, gpus: list[Gpu]) -> tuple[list[Gpu], bool]:
    """The cards on which the student can learn, and whether a server that the run starts lies on one of them."""
    server = recipe.student.server
    if server is None or server.endpoint is not None:
        return gpus, False
    first = int(index) if (index := recipe.student.device.partition(":")[2]).isdecimal() else 0
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1)
    taken = _taken(server, gpus, first=first)
    is_shared = any(gpu in taken for gpu in gpus[first : first + ranks]) or not gpus
    is_meant = VISIBLE not in server.environment or told_share(server.arguments) is not None
    if is_shared and is_meant:
        return gpus, True
    return [gpu for gpu in gpus if gpu not in taken], False


def _taken(server: ServerSettings, gpus: list[Gpu], *, first: int) -> list[Gpu]:
    if VISIBLE in server.environment:
        return _named(gpus, server.environment[VISIBLE])
    # transformers serve is told the student's device; vLLM takes the first ones that it sees.
    return gpus[first : first + 1] if server.engine == "transformers" else gpus[: width(server.arguments)]


def _named(gpus: list[Gpu], visible: str | None) -> list[Gpu]:
    if visible is None:
        return gpus
    words = [word.strip() for word in visible.split(",")]
    return [gpu for word in words for gpu in gpus if gpu.is_named(word)]
