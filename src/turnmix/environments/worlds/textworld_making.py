"""Makes one TextWorld game, in a process of its own: what TextWorld and its compiler leave behind ends with it.

In: an order as JSON (`game`, `seed`, and the settings of its kind); a standard input that stays open as long as the
game is wanted. Out: `game.z8` and `game.json` in the working directory; else the status is not 0, and the last line on
standard error says why.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

from turnmix.core.json_text import json_value

STORY, LOGIC = "game.z8", "game.json"
ATTEMPTS = 20
"""Not every seed has a game of every kind: one that has none is drawn again, always in the same way."""
_PARTS = ("map", "objects", "quest", "grammar")


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    order = json_value(sys.argv[1])
    failures = []
    for attempt in range(ATTEMPTS):
        try:
            _make(order, attempt)
        except Exception as failed:  # an assertion, a ValueError of a random generator, a compiler's error
            failures.append(f"{type(failed).__name__}: {failed}".strip())
            continue
        return
    print(failures[-1], file=sys.stderr)
    sys.exit(1)


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


def _end_with_parent() -> None:
    """Ends this process and its compiler when whoever asked for the game is gone, however it went."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os.killpg(0, signal.SIGKILL)
