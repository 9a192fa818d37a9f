"""Room for open trajectories, shared by stages that run at one time."""

import asyncio
import threading

import pytest

from turnmix.core.errors import UserError
from turnmix.environments.counting import CountingSource
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import StudentMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.room import Room


def test_room_is_taken_whole_and_by_a_cohort_larger_than_all_of_it_alone():
    place = Room(3).first()
    assert place.take(2)
    assert not place.take(2)
    place.give(2)
    assert place.take(5)
    assert not place.take(1)


def test_what_runs_beside_takes_nothing_while_the_first_may_still_begin_cohorts():
    room = Room(3)
    first, beside = room.first(), room.beside()
    told = []
    with beside.admitting(lambda: told.append(beside.take(1))):
        with first.admitting(lambda: None):
            assert first.take(1)
            assert not beside.take(1)
        assert told[-1]
    beside.give(1)
    assert first.take(2)


def test_there_is_no_room_of_nothing():
    with pytest.raises(UserError, match="concurrency must be 1 or more, not 0"):
        Room(0)


def test_collectors_in_two_threads_never_open_more_than_their_room_and_both_end():
    """Each of both has 12 trajectories, in cohorts of two; the room is for four."""
    room, lock = Room(4), threading.Lock()
    open_now, most = [], []

    class Counting(CountingSource):
        def environment(self, task):
            environment = super().environment(task)
            close = environment.close
            with lock:
                open_now.append(environment)
                most.append(len(open_now))

            async def closing():
                await close()
                with lock:
                    open_now.remove(environment)

            environment.close = closing
            return environment

    def collected(place, prefix, ended):
        source = Counting()
        plans = make_plans(
            source.tasks("train")[:12], iteration=1, seed=0, cohort_size=2, beta=0.0, prefix=prefix
        )
        student = ScriptedPolicy.of_actions(
            "student", [call_action("add", amount=1), call_action("finish")], latency=0.002
        )
        trajectories = asyncio.run(
            collect(
                plans,
                source=source,
                student=student,
                teacher=None,
                mixture=StudentMixture(),
                label=False,
                concurrency=4,
                place=place,
            )
        )
        ended.extend(each.id for each in trajectories)

    ended: list[str] = []
    threads = [
        threading.Thread(target=collected, args=(room.first(), "i", ended)),
        threading.Thread(target=collected, args=(room.beside(), "e", ended)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == sorted({f"{prefix}001-{number:05d}" for prefix in "ei" for number in range(12)})
    assert max(most) == 4
    assert open_now == []
