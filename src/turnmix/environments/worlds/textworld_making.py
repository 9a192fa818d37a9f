"""Makes TextWorld's games, in a process of its own: its compiler writes into the home of whoever runs it.

In: lines on standard input, each an order as JSON (`order`: `game`, `seed`, and the settings of its kind; `work`: an
empty directory). Out: `game.z8` and `game.json` there, and a line on standard output: a JSON text that says why there
is none, or is empty. The process ends, with its compiler, when standard input does.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import signal
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from turnmix.core.json_text import json_text, json_value

STORY, LOGIC = "game.z8", "game.json"
ATTEMPTS = 20
"""Not every seed has a game of every kind: one that has none is drawn again, always in the same way."""
IDLE_SECONDS = 60.0
_PARTS = ("map", "objects", "quest", "grammar")


def main() -> None:
    orders: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=[orders], daemon=True).start()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(queue.Empty):
        while True:
            asked = json_value(orders.get(timeout=IDLE_SECONDS))
            answers.write(json_text(_made(asked["order"], asked["work"])) + "\n")
            answers.flush()


def _listen(orders: queue.Queue[bytes]) -> None:
    """Ends this process and its compiler when whoever asked is gone, however it went."""
    with open(0, "rb", closefd=False) as asked:
        for line in asked:
            orders.put(line)
    os.killpg(0, signal.SIGKILL)


def _made(order: Mapping[str, Any], work: str) -> str:
    """What went wrong; nothing where the game is there."""
    os.environ["HOME"] = tempfile.tempdir = work
    os.chdir(work)
    failure = ""
    for attempt in range(ATTEMPTS):
        try:
            _make(order, attempt)
            failure = ""
            break
        except Exception as failed:  # an assertion, a ValueError of a random generator, a compiler's error
            failure = f"{type(failed).__name__}: {failed}".splitlines()[0]
    os.chdir("/")
    return failure


def _make(order: Mapping[str, Any], attempt: int) -> None:
    import textworld
    from textworld.generator import compile_game

    drawn = random.Random(f"{order['seed']} {attempt}")
    options = textworld.GameOptions()
    options.seeds = {part: drawn.randrange(2**31) for part in _PARTS}
    options.path = os.path.join(os.getcwd(), STORY)
    options.force_recompile = True
    game = (_cooking if order["game"] == "cooking" else _treasure)(order, options)
    compile_game(game, options)


def _cooking(order: Mapping[str, Any], options: Any) -> Any:
    from textworld.challenges.tw_cooking import cooking

    skills = {name: order[name] for name in ("take", "open", "cook", "cut", "drop")}
    usual = {"recipe_seed": 0, "split": None}
    return cooking.make({"recipe": order["ingredients"], "go": order["rooms"], **skills, **usual}, options)


def _treasure(order: Mapping[str, Any], options: Any) -> Any:
    from textworld.challenges.tw_treasure_hunter import treasure_hunter
    from textworld.generator.data import KnowledgeBase
    from textworld.generator.game import GameProgression

    options.kb = KnowledgeBase.load(treasure_hunter.KB_PATH)
    options.nb_rooms, options.quest_length = order["rooms"], order["quest_length"]
    # Else the task tells the whole way to the treasure.
    options.grammar.only_last_action = True
    game = treasure_hunter.make_game(order["mode"], options)
    shortest = GameProgression(game).winning_policy or ()
    if len(shortest) != order["quest_length"]:
        raise ValueError(f"a quest of length {len(shortest)}, not {order['quest_length']}")
    return game
