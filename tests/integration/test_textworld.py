"""TextWorld: its planner as the expert, games made once and by their seed, whatever an agent says, and in the loop."""

import asyncio
import fcntl
import gc
import json
import os
import random
import signal
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from killed_training import SMALL, trained_whole_and_killed
from long_tests import takes_many_minutes
from played_worlds import played, survives_mutated_actions
from pydantic import ValidationError

from strict_environment import strict_environment
from turnmix.core.errors import MissingDependencyError, UserError
from turnmix.core.trajectory import StopReason
from turnmix.environments.worlds import textworld_makers
from turnmix.environments.worlds.textworld import TextWorldSettings
from turnmix.environments.worlds.textworld_cache import made_game
from turnmix.policies.scripted import call_action
from warm_python import keep_warm

pytest.importorskip("textworld", reason="TextWorld needs the extra: pip install 'turnmix[worlds]'")
RECIPE = str(Path(__file__).parents[2] / "recipes" / "textworld.yaml")
COOKING = {"game": "cooking", "rooms": 1, "ingredients": 2, "take": 1, "cook": True, "cut": True}
FULL_HANDS = {**COOKING, "rooms": 6, "ingredients": 3, "take": 2, "open": True, "drop": True}
TREASURE = {"game": "treasure", "rooms": 5, "quest_length": 3}


@pytest.fixture(scope="module", autouse=True)
def games(tmp_path_factory):
    """Where the games of these tests are kept."""
    with pytest.MonkeyPatch.context() as changed:
        folder = tmp_path_factory.mktemp("cache")
        changed.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


def source(settings, **further):
    return TextWorldSettings(**{"max_turns": 40, **settings, **further}).make(None)


def acting(*commands):
    """Says these commands, and then what the expert says."""
    left = list(commands)
    return lambda action, state: call_action("act", action=left.pop(0)) if left else action


def said(messages):
    return [message.tool_calls[0].arguments["action"] for message in messages if message.tool_calls]


def test_the_expert_reads_the_recipe_and_cooks_the_meal(capfd):
    worlds = source(COOKING)
    ((messages, reason, verdict),) = played(worlds, worlds.tasks("train")[:1])
    assert "examine cookbook" in said(messages)
    assert said(messages)[-2:] == ["prepare meal", "eat meal"]
    assert (reason, verdict.resolved, verdict.reward) == (StopReason.finished, True, pytest.approx(1))
    assert verdict.details["score"] == verdict.details["max_score"] > 1
    assert (verdict.details["lost"], verdict.details["states_without_plan"]) == (False, 0)
    assert capfd.readouterr().out == ""


def test_the_expert_cooks_with_hands_that_hold_little_whatever_was_done_before():
    drawn = random.Random(0)

    def mistaken(action, state):
        commands = [
            "go north",
            "go east",
            "go south",
            "go west",
            "drop knife",
            "close fridge",
            "drop red onion",
        ]
        return call_action("act", action=drawn.choice(commands)) if drawn.random() < 0.4 else action

    worlds = source(FULL_HANDS, max_turns=100)
    tasks = worlds.tasks("train")[:1]
    for chooses in (None, mistaken, mistaken, mistaken):
        ((messages, _, verdict),) = played(worlds, tasks, chooses)
        assert verdict.resolved
        assert said(messages).index("examine cookbook") < said(messages).index("prepare meal")
        assert verdict.details["states_without_plan"] == 0


def test_the_expert_takes_the_treasure_by_the_shortest_way_and_finds_the_way_back():
    worlds = source(TREASURE)
    tasks = worlds.tasks("train")[:2]
    assert [len(said(messages)) for messages, _, _ in played(worlds, tasks)] == [3, 3]
    lost_its_way = acting("go north", "go west", "examine me", "go south")
    assert all(verdict.resolved for _, _, verdict in played(worlds, tasks, lost_its_way))


@takes_many_minutes
@pytest.mark.parametrize(
    "settings",
    [
        {"game": "treasure", "rooms": 6, "quest_length": 4},
        {"game": "treasure", "rooms": 10, "quest_length": 6, "mode": "medium"},
        {"game": "treasure", "rooms": 12, "quest_length": 10, "mode": "hard"},
        {"game": "cooking", "rooms": 1, "open": True, "cook": True},
        {"game": "cooking", "rooms": 6, "ingredients": 2, "open": True, "cook": True, "cut": True},
        FULL_HANDS,
        {**FULL_HANDS, "rooms": 12, "ingredients": 4, "take": 3, "drop": False},
    ],
)
def test_the_expert_resolves_games_of_every_kind(settings):
    worlds = source(settings, max_turns=120)
    plays = played(worlds, worlds.tasks("train")[:40])
    assert sum(verdict.resolved for _, _, verdict in plays) == 40


def test_an_ingredient_that_is_burnt_loses_the_game_and_keeps_the_share_of_its_score():
    def cooks_twice(action, state):
        last = state.messages[-2].tool_calls
        is_cooked = last and last[0].arguments["action"].startswith("cook")
        return call_action("act", **last[0].arguments) if is_cooked else action

    worlds = source(COOKING)
    messages, reason, verdict = played(worlds, worlds.tasks("train")[:1], cooks_twice)[0]
    assert said(messages)[-1] == said(messages)[-2]
    assert (reason, verdict.resolved) == (StopReason.finished, False)
    assert (verdict.details["lost"], verdict.details["won"]) == (True, False)
    assert 0 < verdict.reward < 1


def test_commands_that_are_not_of_the_game_are_not_passed_on():
    worlds = source(TREASURE)
    foreign = [
        "quit",
        "restart",
        "look, quit",
        "look. quit",
        "look then quit",
        "tw-trace-actions",
        "save",
        "y",
    ]
    messages, _, verdict = played(worlds, worlds.tasks("train")[:1], acting(*foreign))[0]
    assert verdict.resolved
    assert not [message for message in messages if "Are you sure" in message.content]
    assert len(said(messages)) == len(foreign) + 3


def test_who_gives_up_has_lost():
    worlds = source(TREASURE)
    _, reason, verdict = played(worlds, worlds.tasks("train")[:1], acting("give up"))[0]
    assert (reason, verdict.resolved, verdict.details["won"]) == (StopReason.finished, False, False)


@pytest.mark.parametrize("settings", [COOKING, TREASURE], ids=["cooking", "treasure"])
def test_whatever_an_agent_does_is_answered(settings):
    class Few:
        def __init__(self, worlds):
            self.environment = worlds.environment
            self._tasks = worlds.tasks("train")[:1]

        def tasks(self, split):
            return list(self._tasks) * 1000

    asyncio.run(survives_mutated_actions(Few(source(settings, max_turns=50)), number=500))


def test_games_that_were_played_hold_no_files_and_no_copy_of_the_interpreter():
    worlds = source(TREASURE)

    def held():
        gc.collect()  # what earlier tests left is not held
        copies = [line for line in Path("/proc/self/maps").read_text().splitlines() if "frotz" in line]
        return len(os.listdir("/proc/self/fd")), len(copies)

    played(worlds, worlds.tasks("train")[:1])
    before = held()
    for _ in range(20):
        played(worlds, worlds.tasks("train")[:1])
    after = held()
    assert all(now <= then for now, then in zip(after, before)), (before, after)


def test_a_task_is_made_by_its_seed_and_no_holdout_task_is_trained_on():
    first, second, other = (source(TREASURE, seed=seed) for seed in (0, 0, 1))
    assert list(first.tasks("train")[:3]) == list(second.tasks("train")[:3])
    seeds = [
        {task.fields["seed"] for task in each}
        for each in (first.tasks("train"), first.tasks("holdout"), other.tasks("train")[:200])
    ]
    assert [len(each) for each in seeds] == [4000, 200, 200]
    assert not seeds[0] & (seeds[1] | seeds[2])


ORDER = {"game": "treasure", "seed": 5, "rooms": 3, "quest_length": 1, "mode": "easy"}


def test_a_game_is_made_once_and_again_where_it_was_damaged():
    story = made_game(ORDER)
    made = story.stat().st_mtime_ns
    assert made_game(ORDER).stat().st_mtime_ns == made
    logic = story.with_name("game.json")
    whole = logic.read_bytes()
    logic.write_bytes(whole[:-100])
    assert made_game(ORDER) == story
    assert logic.read_bytes() == whole


def test_a_maker_that_ends_as_it_is_asked_is_replaced():
    """As one may that has had nothing to do for long."""
    made_game({**ORDER, "seed": 20})
    maker = textworld_makers._idle[-1]
    maker.send_signal(signal.SIGSTOP)

    def is_asked():
        return fcntl.ioctl(maker.stdin, termios.FIONREAD, bytes(4)) != bytes(4)

    with ThreadPoolExecutor(1) as other:
        making = other.submit(made_game, {**ORDER, "seed": 21})
        assert until(is_asked)
        maker.kill()
        assert making.result().stat().st_size > 100_000


ASKING = (
    "import sys, json; from turnmix.environments.worlds.textworld_cache import made_game; "
    "print(made_game(json.loads(sys.argv[1])).stat().st_mtime_ns)"
)


def asks(order):
    return subprocess.Popen([sys.executable, "-c", ASKING, json.dumps(order)], stdout=subprocess.PIPE)


def makers(folder):
    """Processes that work there."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            found += (
                [entry.name] if entry.name.isdigit() and str(folder) in os.readlink(entry / "cwd") else []
            )
        except OSError:
            continue
    return found


def until(happens, seconds=300):
    """Whether it does."""
    deadline = time.monotonic() + seconds
    while not (has_happened := happens()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return has_happened


def test_two_processes_that_want_one_game_make_it_once():
    asking = [asks({**ORDER, "seed": 6}) for _ in range(2)]
    first, second = (each.communicate()[0] for each in asking)
    assert first == second != b""


def test_who_is_killed_while_a_game_is_made_leaves_no_process_and_no_half_of_a_game(games):
    def is_killed_amid(order):
        asking = asks(order)
        assert until(lambda: makers(games) or asking.poll() is not None)
        asking.send_signal(signal.SIGKILL)
        return asking.communicate()[0] == b""  # else it had the game by then

    orders = ({**ORDER, "seed": seed} for seed in range(7, 12))
    order = next(each for each in orders if is_killed_amid(each))
    assert until(lambda: not makers(games))
    assert made_game(order).stat().st_size > 100_000


def test_a_game_is_made_beside_what_else_the_loop_does_and_once_for_all_who_wait(games):
    async def started():
        worlds = source(TREASURE)
        task = worlds.tasks("holdout")[0]

        async def look():
            while not makers(games):  # noqa: ASYNC110 (nothing tells of it)
                await asyncio.sleep(0.01)

        looking = asyncio.create_task(look())
        plays = [worlds.environment(task) for _ in range(3)]
        first, *others = await asyncio.gather(*(play.reset() for play in plays))
        has_seen_it_made = looking.done()
        looking.cancel()
        for play in plays:
            await play.close()
        assert others == [first, first]
        return has_seen_it_made

    assert asyncio.run(started())


def make_writable(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def link(folder):
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder.parent.parent)


def give_away(folder):
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    folder.mkdir(parents=True)
    os.chown(folder, 12345, 12345)


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        (make_writable, "can be written by others: chmod go-w it"),
        (link, "it is a link"),
        (give_away, "is somebody else's"),
    ],
)
def test_games_that_others_could_have_written_are_not_opened(planted, told, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    planted(tmp_path / "turnmix" / "textworld")
    for asked in (TextWorldSettings(**TREASURE).check, lambda: made_game(ORDER)):
        with pytest.raises(UserError) as refused:
            asked()
        assert told in str(refused.value)
        assert str(refused.value).startswith("tasks.source: 'textworld': its games would be kept in ")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"game": "treasure", "quest_length": 7},
            "tasks.quest_length = 7: too long for 6 rooms: give 1 to 6, or more",
        ),
        (
            {"game": "treasure", "ingredients": 2},
            "tasks.ingredients = 2: a game of treasure has none: leave it out",
        ),
        ({"game": "cooking", "mode": "hard"}, "tasks.mode = hard: a game of cooking has none: leave it out"),
        (
            {"game": "treasure", "rooms": 1, "quest_length": 1},
            "tasks.rooms = 1: a treasure hunt needs 2 to 20",
        ),
        ({"game": "cooking", "rooms": 7}, "tasks.rooms = 7: give 1, 6, 9 or 12 for tasks.game=cooking"),
        (
            {"game": "cooking", "take": 2},
            "tasks.take = 2: more than tasks.ingredients, which is 1: give 0 to 1",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(settings, told):
    with pytest.raises(ValidationError) as refused:
        TextWorldSettings(**settings)
    assert told in str(refused.value)


def test_a_missing_package_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "textworld", None)
    with pytest.raises(
        MissingDependencyError, match=r"the package textworld .*pip install 'turnmix\[worlds\]'"
    ):
        source(TREASURE)


def test_a_run_of_the_recipe_that_was_killed_goes_on_to_the_same_trajectories(tmp_path):
    keep_warm(strict_environment())
    trained_whole_and_killed(RECIPE, [*SMALL, "tasks.rooms=3", "tasks.quest_length=2"], tmp_path)
