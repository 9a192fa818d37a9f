import asyncio
import random
import tracemalloc
from dataclasses import replace

import pytest
from recording_world import RecordingPolicy, RecordingSource

from turnmix.core.errors import UserError
from turnmix.core.trajectory import StopReason
from turnmix.environments.counting import CountingSource
from turnmix.environments.environment import expert_of
from turnmix.policies.scripted import ScriptedPolicy, call_action, text_action
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import DaggerMixture, StudentMixture, TeacherMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest


def plans_for(source, *, cohort_size=2, iteration=3):
    return make_plans(source.tasks("train"), iteration=iteration, seed=0, cohort_size=cohort_size, beta=0.6)


def collecting(source, **changes):
    usual = {
        "plans": plans_for(source),
        "student": RecordingPolicy("student", source),
        "teacher": RecordingPolicy("teacher", source),
        "mixture": DaggerMixture(),
        "label": True,
        "concurrency": 2,
        "backoff_seconds": 0.0,
    }
    return collect(RolloutRequest(source=source, **{**usual, **changes}))


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 300))


def test_trajectories_come_in_plan_order_or_are_given_away_as_they_finish():
    # The first task's steps take the longest.
    source = RecordingSource(rounds=lambda task_id: 40 if task_id.endswith("-0") else 1)
    ids = [plan.trajectory_id for plan in plans_for(source)]
    assert [trajectory.id for trajectory in run(collecting(source, concurrency=4))] == ids
    told = []
    assert run(collecting(source, concurrency=4, on_trajectory=lambda one: told.append(one.id))) == []
    assert sorted(told) == ids
    assert told[-1] == ids[0]


def test_of_trajectories_that_are_given_away_none_is_held():
    source = CountingSource(num_train=40, max_turns=1)
    student = ScriptedPolicy("student", lambda episode, state: text_action("x" * 250_000))
    ended = []
    tracemalloc.start()
    try:
        run(
            collecting(
                source,
                plans=plans_for(source, cohort_size=1),
                student=student,
                teacher=None,
                mixture=StudentMixture(),
                label=False,
                on_trajectory=lambda one: ended.append(one.id),
            )
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(ended) == 40
    assert peak < 3_000_000  # the texts of all take 10 MB


def test_all_members_of_a_cohort_begin_before_any_of_them_runs():
    source = RecordingSource(num_train=6)
    run(collecting(source, plans=plans_for(source, cohort_size=3), concurrency=3))
    for members in ([0, 1, 2], [3, 4, 5]):
        ids = {f"count-train-{number}" for number in members}
        events = [event for event in source.events if event.split()[-1] in ids]
        begun = [event for event in events[:6] if event.startswith("begin")]
        assert len(begun) == 6
        assert [event for event in begun if "student" in event] == [
            f"begin student count-train-{number}" for number in members
        ]


@pytest.mark.parametrize(("concurrency", "most_open"), [(1, 2), (2, 2), (3, 2), (4, 4), (5, 4), (100, 6)])
def test_at_most_concurrency_trajectories_are_open_but_always_a_whole_cohort(concurrency, most_open):
    source = RecordingSource(num_train=6)
    run(collecting(source, concurrency=concurrency))
    assert source.most_open == most_open
    assert source.open == 0


def test_a_cohort_waits_for_room_not_for_the_whole_cohort_before_it():
    slow = "count-train-0"
    source = RecordingSource(num_train=6, rounds=lambda task_id: 500 if task_id == slow else 1)
    run(collecting(source, concurrency=3))
    assert source.events.index("reset count-train-5") < source.events.index(f"verify {slow}")


def test_an_infra_error_is_tried_again_alone_from_its_start():
    source = RecordingSource(fail="step", failures=1, num_train=2)
    student = RecordingPolicy("student", source)
    told = []
    run(collecting(source, student=student, on_trajectory=told.append))
    assert sorted(trajectory.attempts for trajectory in told) == [1, 2]
    assert all(trajectory.verdict is not None and trajectory.error is None for trajectory in told)
    again = student.episodes[2]
    first = next(one for one in student.episodes if one.trajectory_id == again.trajectory_id)
    assert again.seed == first.seed
    assert again.cohort not in {plan.cohort for plan in plans_for(source)}


def test_an_infra_error_that_stays_is_told_once_with_its_attempts_and_no_verdict():
    source = RecordingSource(fail="act student", num_train=2)
    told = []
    run(collecting(source, mixture=StudentMixture(), attempts=3, on_trajectory=told.append))
    assert [trajectory.stop_reason for trajectory in told] == [StopReason.infra_error] * 2
    assert [trajectory.attempts for trajectory in told] == [3, 3]
    assert all(trajectory.verdict is None for trajectory in told)


def test_a_trajectory_tried_again_is_the_one_it_would_have_been():
    def collected(**failure):
        source = RecordingSource(**failure)
        return [comparable(one) for one in run(collecting(source, attempts=5))]

    assert collected() == collected(fail="step", failures=3)


def test_trajectories_do_not_depend_on_timing():
    def collected(concurrency, latency):
        generator = random.Random(latency)

        async def sleep(seconds):
            for _ in range(generator.randint(0, 10)):
                await asyncio.sleep(0)

        source = CountingSource(num_train=12, max_turns=6)
        student = ScriptedPolicy.of_actions("s", [call_action("add", amount=1)], latency=1, sleep=sleep)
        teacher = ScriptedPolicy.of_actions("t", [call_action("add", amount=2)], latency=1, sleep=sleep)
        return [
            comparable(one)
            for one in run(collecting(source, student=student, teacher=teacher, concurrency=concurrency))
        ]

    first = collected(2, 0)
    assert first == collected(12, 1) == collected(3, 2)
    assert {turn.actor for one in first for turn in one.turns} == {"student", "teacher"}


def test_a_resumed_part_gives_the_same_trajectories_as_the_whole():
    source = RecordingSource(num_train=6)
    plans = plans_for(source)
    whole = run(collecting(source, plans=plans))
    part = run(collecting(source, plans=plans[2:4]))
    assert [comparable(one) for one in whole[2:4]] == [comparable(one) for one in part]


def test_the_teacher_sees_the_environment_and_the_student_does_not():
    source = RecordingSource()
    student, teacher = RecordingPolicy("student", source), RecordingPolicy("teacher", source)
    run(collecting(source, student=student, teacher=teacher))
    assert all(episode.privileged_view().count > 0 for episode in teacher.episodes)
    for episode in student.episodes:
        with pytest.raises(
            UserError, match=rf"task {episode.task.id}: a privileged policy .* must be the teacher"
        ):
            episode.privileged_view()


def test_the_expert_of_a_world_looks_into_it_and_repairs_what_the_student_wrecked():
    source = CountingSource(num_train=6)
    wrecking = ScriptedPolicy.of_actions("student", [call_action("add", amount=-7)])
    collected = run(
        collecting(source, student=wrecking, teacher=expert_of(source), mixture=DaggerMixture(floor=0.5))
    )
    assert {turn.actor for one in collected for turn in one.turns} == {"student", "teacher"}
    assert all(one.verdict.resolved for one in collected)


def test_a_source_that_says_nothing_of_an_expert_has_none():
    class Silent:
        name = "silent"

    assert expert_of(Silent()) is None


@pytest.mark.parametrize("rounds", [0, 1, 2, 5, 9, 30, 77])
def test_cancellation_at_any_moment_closes_all_that_began(rounds):
    async def scenario():
        source = RecordingSource(num_train=6, max_turns=50)
        task = asyncio.create_task(collecting(source, plans=plans_for(source, cohort_size=3), concurrency=3))
        for _ in range(rounds + 1):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return source, len(asyncio.all_tasks())

    source, num_tasks = asyncio.run(scenario())
    assert num_tasks == 1
    assert_all_that_began_is_closed(source)


@pytest.mark.parametrize("error", [UserError("teacher.model: no such model"), ZeroDivisionError("a bug")])
def test_a_users_mistake_or_a_bug_in_one_trajectory_ends_the_run_and_closes_the_others(error):
    source = RecordingSource(fail="verify", failures=1, error=error, num_train=6)
    with pytest.raises(type(error)):
        run(collecting(source, concurrency=6))
    assert_all_that_began_is_closed(source)


def test_a_policy_that_cannot_begin_leaves_nothing_open_of_the_members_before_it():
    class Shy(RecordingPolicy):
        def begin(self, episode):
            if len(self.episodes) == 2:
                raise UserError("student.model: no such model")
            return super().begin(episode)

    source = RecordingSource()
    with pytest.raises(UserError, match="no such model"):
        run(collecting(source, student=Shy("student", source), plans=plans_for(source, cohort_size=4)))
    assert sum(event.startswith("begin student") for event in source.events) == 2
    assert not any(event.startswith("reset") for event in source.events)
    assert_all_that_began_is_closed(source)


def test_a_record_that_cannot_be_written_ends_the_run():
    def write(trajectory):
        raise OSError(28, "No space left on device")

    source = RecordingSource()
    with pytest.raises(OSError, match="No space left"):
        run(collecting(source, on_trajectory=write))
    assert_all_that_began_is_closed(source)


def test_no_plans_give_no_trajectories():
    assert run(collecting(RecordingSource(), plans=[])) == []


def test_impossible_requests_are_refused_before_anything_begins():
    source = RecordingSource()

    def refused(told, **changes):
        with pytest.raises(UserError, match=told):
            run(collecting(source, **changes))

    refused("there is no teacher", mixture=StudentMixture(), teacher=None)
    refused("not 0 and 3", concurrency=0)
    refused("not 2 and 0", attempts=0)
    refused("there is none: set `teacher`", mixture=TeacherMixture(), label=False, teacher=None)
    with pytest.raises(ValueError, match="share a trajectory id"):
        run(collecting(source, plans=plans_for(source) * 2))


def comparable(trajectory):
    turns = tuple(replace(turn, seconds={}) for turn in trajectory.turns)
    return replace(trajectory, turns=turns, attempts=1)


def assert_all_that_began_is_closed(source):
    for event in source.events:
        first, *rest = event.split()
        if first == "begin":
            assert "close " + " ".join(rest) in source.events
        if first == "reset":
            assert f"close environment {rest[0]}" in source.events
