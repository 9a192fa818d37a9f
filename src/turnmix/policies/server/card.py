"""Would a server that is started lie on a card on which the student learns? Nothing is asked of the machine.

In: the server's settings, and the environment of the process that learns. Out: the cards that both use, and the share
of a card's memory that the server was given.

vLLM takes some nine tenths of a card at its start, whatever else is to lie there: who learns on the same card finds no
room, and nobody says so before the first optimiser step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from turnmix.policies.server.settings import ServerSettings

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SHARE = re.compile(r"--gpu[-_]memory[-_]utilization")
_CACHE = re.compile(r"--kv[-_]cache[-_]memory[-_]bytes")
_WIDTH = re.compile(r"--(tensor|pipeline|data)[-_]parallel[-_]size|-(tp|pp|dp)")


def shared_cards(settings: ServerSettings, *, device: str, environment: Mapping[str, str]) -> list[str]:
    """The cards of a server that is started here which are also the learner's, as CUDA_VISIBLE_DEVICES names them.

    device: the learner's
    environment: of the process that learns, which a launcher may have started several times

    >>> server = ServerSettings(environment={"CUDA_VISIBLE_DEVICES": "1,2"}, arguments=("-tp=2",))
    >>> shared_cards(server, device="cuda", environment={"WORLD_SIZE": "2"})
    ['1']
    >>> shared_cards(server, device="cuda", environment={})
    []
    >>> shared_cards(ServerSettings(), device="cuda", environment={"CUDA_VISIBLE_DEVICES": "3"})
    ['3']
    """
    if settings.endpoint is not None or settings.engine != "vllm" or not device.startswith("cuda"):
        return []
    first = int(index) if (index := device.partition(":")[2]).isdigit() else 0
    ranks = int(environment.get("LOCAL_WORLD_SIZE") or environment.get("WORLD_SIZE") or 1)
    learners = _visible(environment.get(VISIBLE), first + ranks)[first:]
    inherited = settings.environment.get(VISIBLE, environment.get(VISIBLE))
    return [card for card in _visible(inherited, width(settings.arguments)) if card in learners]


def width(arguments: Sequence[str]) -> int:
    """How many cards a server takes.

    >>> width(["-tp=2", "--data-parallel-size", "2"]), width([])
    (4, 1)
    """
    found = 1
    for given in _given(arguments, _WIDTH):
        found *= int(given) if given.isdigit() else 1
    return found


def told_share(arguments: Sequence[str]) -> float | None:
    """The share of a card's memory that the server is told to take; 0.0: it is told of its cache alone; None: nothing.

    >>> told_share(["--gpu-memory-utilization", "0.3"]), told_share(["--gpu_memory_utilization=0.5"])
    (0.3, 0.5)
    """
    for given in _given(arguments, _SHARE):
        try:
            return float(given)
        except ValueError:
            return None
    return 0.0 if _given(arguments, _CACHE) else None


def _visible(listed: str | None, number: int) -> list[str]:
    """The first `number` cards; None: all of the machine are visible."""
    cards = map(str, range(number)) if listed is None else (card.strip() for card in listed.split(","))
    return [card for card in cards if card][:number]


def _given(arguments: Sequence[str], name: re.Pattern[str]) -> list[str]:
    """The values of an argument, written as one word or two."""
    found = []
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        word, equals, value = argument.partition("=")
        if name.fullmatch(word):
            found.append(value if equals else following)
    return found
