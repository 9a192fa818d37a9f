"""Slots for open trajectories, shared by stages that run at one time."""

import asyncio
import threading

import pytest

from turnmix.core.errors import UserError
from turnmix.environments.counting import CountingSource
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import StudentMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.rollout.slots import Slots


def test_slots_are_taken_together_and_by_a_cohort_larger_than_all_of_them_alone():
    slots = Slots(3).first()
    assert slots.take(2)
    assert not slots.take(2)
    slots.give(2)
    assert slots.take(5)
    assert not slots.take(1)


def test_what_runs_beside_takes_nothing_while_the_first_may_still_begin_cohorts():
    slots = Slots(3)
    first, beside = slots.first(), slots.beside()
    told = []
    with beside.admitting(lambda: told.append(beside.take(1))):
        with first.admitting(lambda: None):
            assert first.take(1)
            assert not beside.take(1)
        assert told[-1]
    beside.give(1)
    assert first.take(2)


def test_there_is_at_least_one_slot():
    with pytest.raises(UserError, match="concurrency must be 1 or more, not 0"):
        Slots(0)


def test_collectors_in_two_threads_never_open_more_than_their_slots_and_both_end():
    """Each of both has 12 trajectories, in cohorts of two; there are four slots."""
    slots, lock = Slots(4), threading.Lock()
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

    def collected(slots, prefix, ended):
        source = Counting()
        plans = make_plans(
            source.tasks("train")[:12], iteration=1, seed=0, cohort_size=2, beta=0.0, prefix=prefix
        )
        student = ScriptedPolicy.of_actions(
            "student", [call_action("add", amount=1), call_action("finish")], latency=0.002
        )
        trajectories = asyncio.run(
            collect(
                RolloutRequest(
                    plans=plans,
                    source=source,
                    student=student,
                    teacher=None,
                    mixture=StudentMixture(),
                    label=False,
                    concurrency=4,
                    slots=slots,
                )
            )
        )
        ended.extend(each.id for each in trajectories)

    ended: list[str] = []
    threads = [
        threading.Thread(target=collected, args=(slots.first(), "i", ended)),
        threading.Thread(target=collected, args=(slots.beside(), "e", ended)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert sorted(ended) == sorted({f"{prefix}001-{number:05d}" for prefix in "ei" for number in range(12)})
    assert max(most) == 4
    assert open_now == []
