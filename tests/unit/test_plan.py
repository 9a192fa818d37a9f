import pytest

from turnmix.core.seed import derive_seed
from turnmix.environments.counting import CountingSource
from turnmix.rollout.plan import make_plans, unfinished_cohorts

TASKS = CountingSource(num_train=5).tasks("train")


def plans(**changes):
    arguments = {"iteration": 1, "seed": 0, "cohort_size": 2, "beta": 0.8, **changes}
    return make_plans(TASKS, **arguments)


def test_ids_name_iteration_and_index():
    assert [plan.trajectory_id for plan in plans(iteration=12)][:2] == ["i012-00000", "i012-00001"]
    assert plans(prefix="e", iteration=0)[4].trajectory_id == "e000-00004"


def test_cohorts_are_neighbours_and_the_last_one_may_be_smaller():
    cohorts = [plan.cohort for plan in plans()]
    assert cohorts[0] == cohorts[1] != cohorts[2] == cohorts[3] != cohorts[4]


def test_cohorts_of_two_iterations_never_share_a_name():
    assert {plan.cohort for plan in plans()}.isdisjoint(plan.cohort for plan in plans(iteration=2))


def test_samples_of_one_task_stand_together_and_have_their_own_seeds():
    sampled = plans(samples_per_task=3)
    assert [plan.task.id for plan in sampled[:4]] == [TASKS[0].id] * 3 + [TASKS[1].id]
    assert len({plan.seed for plan in sampled}) == 15


def test_seeds_depend_on_run_iteration_and_index():
    seeds = [
        plan.seed
        for changes in ({}, {"iteration": 2}, {"seed": 1}, {"prefix": "e"})
        for plan in plans(**changes)
    ]
    assert len(set(seeds)) == 20
    assert plans() == plans()


def test_parts_of_a_seed_do_not_run_together():
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_a_resumed_run_takes_up_whole_cohorts():
    planned = plans()
    finished = {planned[0].trajectory_id, planned[2].trajectory_id, planned[3].trajectory_id}
    assert unfinished_cohorts(planned, finished) == [planned[0], planned[1], planned[4]]


def test_an_empty_cohort_is_refused():
    with pytest.raises(ValueError, match="must be 1 or more, not 0 and 1"):
        plans(cohort_size=0)
