import asyncio

import pytest
from recording_world import RecordingPolicy, RecordingSource

from turnmix.core.errors import UserError
from turnmix.core.trajectory import StopReason
from turnmix.environments.counting import CountingSource
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.rollout.plan import make_plans
from turnmix.rollout.rollout import roll_out


def alternating(turn, state):
    return "student" if turn % 2 == 0 else "teacher"


def student_only(turn, state):
    return "student"


def teacher_only(turn, state):
    return "teacher"


def rollout_of(source, student, teacher, *, actors=student_only, label=True, **more):
    """The coroutine of one rollout of the source's first task."""
    (plan,) = make_plans(source.tasks("train")[:1], iteration=1, seed=0, cohort_size=1, beta=0.5)
    environment = source.environment(plan.task)

    def episode(seen):
        return Episode(trajectory_id=plan.trajectory_id, task=plan.task, seed=plan.seed, inspectable=seen)

    return roll_out(
        plan,
        environment=environment,
        student_session=student.begin(episode(None)),
        teacher_session=None if teacher is None else teacher.begin(episode(environment)),
        actors=actors,
        label=label,
        **more,
    )


def run(coroutine):
    """A rollout that waits for something that never comes fails instead of hanging."""
    return asyncio.run(asyncio.wait_for(coroutine, 300))


def recorded(actors=student_only, label=True, **source_arguments):
    """A recording source, its student and teacher, and the coroutine of one rollout."""
    source = RecordingSource(**source_arguments)
    student, teacher = RecordingPolicy("student", source), RecordingPolicy("teacher", source)
    return source, student, teacher, rollout_of(source, student, teacher, actors=actors, label=label)


def test_labels_that_come_only_after_verification_delay_no_step():
    async def scenario():
        source = RecordingSource(max_turns=6)
        source.verifying = asyncio.Event()
        teacher = RecordingPolicy("teacher", source, gate=source.verifying)
        return await rollout_of(source, RecordingPolicy("student", source), teacher)

    trajectory = run(scenario())
    assert [turn.label.message.tool_calls[0].arguments["amount"] for turn in trajectory.turns] == [100] * 6


def test_the_environment_rests_until_the_teacher_has_looked():
    source, _, _, rollout = recorded(max_turns=3)
    run(rollout)
    task = source.tasks("train")[0].id
    order = [event for event in source.events if event in (f"looked teacher {task}", f"step {task}")]
    assert order == [f"looked teacher {task}", f"step {task}"] * 3


def test_the_teacher_looks_beside_the_students_generation():
    source, _, _, rollout = recorded(max_turns=1)
    run(rollout)
    task = source.tasks("train")[0].id
    assert source.events.index(f"act student {task}") < source.events.index(f"looked teacher {task}")


def test_a_late_label_is_of_the_state_it_was_asked_in():
    async def scenario():
        source = RecordingSource(max_turns=5)
        source.verifying = asyncio.Event()
        teacher = RecordingPolicy("teacher", source, gate=source.verifying)
        return await rollout_of(source, RecordingPolicy("student", source), teacher)

    trajectory = run(scenario())
    # The student adds 1 a turn, so the counter that the teacher saw at turn t stood at t.
    assert [turn.label.message.tool_calls[0].arguments["seen"] for turn in trajectory.turns] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_a_label_is_never_part_of_the_next_state():
    _, student, _, rollout = recorded(max_turns=4)
    trajectory = run(rollout)
    assert student.states == [trajectory.state(turn) for turn in range(4)]
    executed = [call for state in student.states for message in state.messages for call in message.tool_calls]
    assert {call.arguments["amount"] for call in executed} == {1}
    assert all(turn.label is not None for turn in trajectory.turns)


def test_a_teacher_turn_is_one_query_and_its_label_is_the_executed_action():
    _, _, teacher, rollout = recorded(actors=teacher_only, max_turns=5)
    trajectory = run(rollout)
    assert len(teacher.states) == 5
    assert all(turn.label is turn.action for turn in trajectory.turns)


def test_every_visited_state_of_a_mixed_trajectory_is_labelled_by_one_query():
    _, student, teacher, rollout = recorded(actors=alternating, max_turns=6)
    trajectory = run(rollout)
    assert [turn.actor for turn in trajectory.turns] == ["student", "teacher"] * 3
    assert (len(student.states), len(teacher.states)) == (3, 6)
    assert [turn.label is turn.action for turn in trajectory.turns] == [False, True] * 3


def test_without_labels_the_teacher_is_asked_for_its_own_turns_alone():
    _, _, teacher, rollout = recorded(actors=alternating, label=False, max_turns=4)
    trajectory = run(rollout)
    assert len(teacher.states) == 2
    assert [turn.label is None for turn in trajectory.turns] == [True, False] * 2


def test_the_student_alone_needs_no_teacher():
    source = RecordingSource(max_turns=3)
    trajectory = run(rollout_of(source, RecordingPolicy("student", source), None, label=False))
    assert trajectory.stop_reason is StopReason.max_turns
    assert trajectory.verdict is not None


@pytest.mark.parametrize(("actors", "label"), [(student_only, True), (teacher_only, False)])
def test_a_teacher_that_is_needed_and_missing_is_the_users_mistake(actors, label):
    source = RecordingSource()
    with pytest.raises(UserError, match="set `teacher`"):
        run(rollout_of(source, RecordingPolicy("student", source), None, actors=actors, label=label))


@pytest.mark.parametrize(
    "event",
    [
        "reset",
        "step",
        "verify",
        "look student",
        "act student",
        "look teacher",
        "looked teacher",
        "act teacher",
    ],
)
@pytest.mark.parametrize("actors", [student_only, alternating])
def test_an_infrastructure_failure_anywhere_is_an_infra_error_without_a_verdict(event, actors):
    source, _, _, rollout = recorded(actors=actors, fail=event)
    trajectory = run(rollout)
    assert trajectory.stop_reason is StopReason.infra_error
    assert trajectory.verdict is None
    assert trajectory.error in ("SandboxError: the sandbox died", "TeacherError: not reached")
    assert_all_closed(source)


def test_a_label_that_fails_ends_the_trajectory_before_its_budget():
    _, student, _, rollout = recorded(fail="act teacher", max_turns=50)
    run(rollout)
    assert len(student.states) <= 2


def test_an_infra_error_keeps_the_turns_that_happened():
    source = RecordingSource(fail="verify", max_turns=3)
    student = RecordingPolicy("student", source)
    trajectory = run(rollout_of(source, student, None, label=False))
    assert len(trajectory.turns) == 3
    assert trajectory.prompt


@pytest.mark.parametrize("error", [UserError("teacher.endpoint: no such host"), KeyError("a bug")])
@pytest.mark.parametrize("event", ["reset", "step", "act student", "act teacher"])
def test_a_users_mistake_and_a_bug_pass_through_and_close_everything(event, error):
    source, _, _, rollout = recorded(fail=event, error=error)
    with pytest.raises(type(error)) as caught:
        run(rollout)
    assert caught.value is error
    assert_all_closed(source)


@pytest.mark.parametrize("rounds", range(0, 40, 3))
def test_cancellation_at_any_moment_closes_everything(rounds):
    async def scenario():
        source = RecordingSource(max_turns=50)
        gate = asyncio.Event()
        teacher = RecordingPolicy("teacher", source, gate=gate)
        task = asyncio.create_task(
            rollout_of(source, RecordingPolicy("student", source), teacher, actors=student_only)
        )
        for _ in range(rounds + 1):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = [other for other in asyncio.all_tasks() if other is not asyncio.current_task()]
        return source, left

    source, left = asyncio.run(scenario())
    assert left == []
    assert_all_closed(source)


def test_the_student_is_closed_before_verification_because_its_cohort_waits_for_it():
    source, _, _, rollout = recorded()
    run(rollout)
    task = source.tasks("train")[0].id
    assert source.events.index(f"close student {task}") < source.events.index(f"verify {task}")


def test_seconds_are_told_apart_by_part():
    now = 0.0

    async def sleep(seconds):
        nonlocal now
        now += seconds

    source = CountingSource(max_turns=2)
    student = ScriptedPolicy.of_actions("student", [call_action("add", amount=1)], latency=3.0, sleep=sleep)
    teacher = ScriptedPolicy.of_actions("teacher", [call_action("finish")], latency=5.0, sleep=sleep)
    by_teacher = run(rollout_of(source, student, teacher, actors=teacher_only, clock=lambda: now))
    assert by_teacher.turns[0].seconds == {"act": 5.0, "step": 0.0}
    by_student = run(rollout_of(source, student, None, label=False, clock=lambda: now))
    assert by_student.turns[1].seconds == {"act": 3.0, "step": 0.0}
    labelled = run(rollout_of(source, student, teacher, clock=lambda: now))
    assert labelled.turns[0].seconds["label"] == 5.0


def test_a_trajectory_records_its_plan():
    source, _, _, rollout = recorded()
    trajectory = run(rollout)
    assert (trajectory.id, trajectory.iteration, trajectory.beta) == ("i001-00000", 1, 0.5)
    assert trajectory.task_id == source.tasks("train")[0].id
    assert type(trajectory).from_json(trajectory.to_json()) == trajectory


def assert_all_closed(source):
    for thing in ("environment", "student", "teacher"):
        assert any(event.startswith(f"close {thing} ") for event in source.events), thing
    # Nothing happens to anything after the environment is closed.
    last = max(n for n, event in enumerate(source.events) if event.startswith("close environment"))
    assert all(event.startswith("close") for event in source.events[last:])
