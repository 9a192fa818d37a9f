import asyncio
import tracemalloc

import pytest
from recorded_trajectories import labelled_turn, trajectory
from recording_world import RecordingPolicy, RecordingSource

from turnmix.core.trajectory import StopReason
from turnmix.environments.counting import CountingSource
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.evaluation.evaluator import evaluation_plans, evaluation_request, summarise
from turnmix.evaluation.interval import wilson
from turnmix.policies.scripted import ScriptedPolicy, call_action, turn_number
from turnmix.rollout.collector import collect
from turnmix.store.append_log import TrajectoryLog
from turnmix.viewing.report import evaluation_lines

UNRESOLVED = patch_verdict(resolved=False, submitted=True, passed=0, failed=1)


def rolled_out(policy, source, tasks, **asked):
    plans = evaluation_plans(tasks, iteration=0, seed=0, cohort_size=8)
    return asyncio.run(
        collect(evaluation_request(policy, plans=plans, source=source, concurrency=8, **asked))
    )


def test_infra_errors_are_excluded_and_counted():
    turn = labelled_turn("student", "a")
    evaluation = summarise(
        [
            trajectory("a", turn, turn),
            trajectory("b", turn, verdict=UNRESOLVED, stop_reason=StopReason.max_turns),
            trajectory("c", turn, turn, turn, verdict=None, stop_reason=StopReason.infra_error),
        ]
    )
    assert (evaluation.resolved, evaluation.submitted, evaluation.n, evaluation.infra_errors) == (1, 2, 2, 1)
    assert (evaluation.low, evaluation.high) == wilson(1, 2)
    assert evaluation.mean_turns == 1.5
    assert evaluation.stop_reasons == {"finished": 1, "max_turns": 1}


def test_the_figures_of_many_trajectories_are_made_with_one_in_memory(tmp_path):
    log = TrajectoryLog(tmp_path / "log")
    for number in range(40):
        log.append(trajectory(f"e000-{number:05d}", labelled_turn("student", "x" * 250_000)))
    tracemalloc.start()
    try:
        assert summarise(log.read(log.ids)).n == 40
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000  # the texts of all take 10 MB


@pytest.mark.parametrize(("unfinished", "resolves"), [("unresolved", False), ("graded", True)])
def test_what_an_unfinished_agent_left_counts_as_is_asked_and_is_never_submitted(unfinished, resolves):
    def add_for_ever(episode, state):
        return call_action("add", amount=1)

    source = CountingSource(num_holdout=20, max_turns=4)
    policy = ScriptedPolicy("student", add_for_ever)
    told = rolled_out(policy, source, source.tasks("holdout"), unfinished=unfinished)
    evaluation = summarise(told, unfinished=unfinished)
    of_four = sum("to 4," in task.problem_statement for task in source.tasks("holdout"))
    assert (evaluation.resolved, evaluation.submitted) == (of_four if resolves else 0, 0)
    assert (evaluation.unfinished, evaluation.unfinished_are) == (20, unfinished)
    assert {one.stop_reason for one in told} == {StopReason.max_turns}
    told_beside = next(evaluation_lines(evaluation.to_json()))
    assert told_beside.endswith(
        "; 20 unfinished, which " + ("were graded" if resolves else "count as unresolved")
    )


def test_nothing_judged_is_not_zero_percent():
    evaluation = summarise([trajectory("c", verdict=None, stop_reason=StopReason.infra_error)])
    assert (evaluation.n, evaluation.rate, evaluation.mean_turns) == (0, None, None)
    assert (evaluation.low, evaluation.high) == (0.0, 1.0)


def test_the_student_alone_is_evaluated_on_every_task():
    source = CountingSource(num_holdout=20)
    tasks = source.tasks("holdout")

    def add_up_to_four(episode, state):
        return call_action("finish") if turn_number(state) == 4 else call_action("add", amount=1)

    told = rolled_out(ScriptedPolicy("student", add_up_to_four), source, tasks)
    evaluation = summarise(told)
    of_four = sum("to 4," in task.problem_statement for task in tasks)
    assert 0 < of_four < 20
    assert (evaluation.resolved, evaluation.n, evaluation.mean_turns) == (of_four, 20, 5)
    assert evaluation.rate == pytest.approx(of_four / 20)
    assert {one.id for one in told} == {f"e000-{index:05d}" for index in range(20)}
    assert all(one.beta == 0 and turn.actor == "student" for one in told for turn in one.turns)
    assert all(turn.label is None for one in told for turn in one.turns)


def test_an_evaluation_whose_world_fails_counts_no_task_as_unresolved():
    source = RecordingSource(fail="verify", failures=1)
    policy = RecordingPolicy("student", source)
    evaluation = summarise(rolled_out(policy, source, source.tasks("train"), attempts=1))
    assert (evaluation.n, evaluation.infra_errors) == (3, 1)
    assert evaluation.to_json()["stop_reasons"] == {"max_turns": 3}
