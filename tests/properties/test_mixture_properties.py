"""For all seeds, iterations and parameters."""

import random

from hypothesis import given
from hypothesis import strategies as st

from turnmix.core.trajectory import State
from turnmix.rollout.prefixes import AggrevateMixture, TeacherPrefixMixture
from turnmix.rollout.shares import DaggerMixture, TrajectoryMixture

SEEDS = st.integers(0, 2**63 - 1)

ANYWHERE = State(messages=(), tools=())


def acted(mixture, iteration, seed):
    actor = mixture.actors(iteration, random.Random(seed))
    return [actor(turn, ANYWHERE) for turn in range(40)]


@given(seed=SEEDS, iteration=st.integers(1, 50))
def test_beta_of_zero_or_one_never_mixes(seed, iteration):
    assert set(acted(DaggerMixture(decay=0, floor=0), iteration, seed)) == {"teacher"}
    assert set(acted(DaggerMixture(decay=1, floor=0), iteration + 1, seed)) == {"student"}


@given(seed=SEEDS, low_iteration=st.integers(1, 10), more=st.integers(1, 10))
def test_a_turn_that_a_lower_beta_gives_to_the_teacher_a_higher_beta_does_too(seed, low_iteration, more):
    early = acted(DaggerMixture(decay=0.05, floor=0), low_iteration, seed)
    late = acted(DaggerMixture(decay=0.05, floor=0), low_iteration + more, seed)
    assert all(e == "teacher" for e, one in zip(early, late, strict=True) if one == "teacher")


@given(
    seed=SEEDS,
    iteration=st.integers(1, 1000),
    low=st.integers(0, 30),
    width=st.integers(0, 30),
    shift=st.floats(1, 1000),
)
def test_a_student_prefix_stays_in_its_support(seed, iteration, low, width, shift):
    mixture = AggrevateMixture(support=(low, low + width), shift=shift)
    actor = mixture.actors(iteration, random.Random(seed))
    assert all(actor(turn, ANYWHERE) == "student" for turn in range(low))
    assert all(actor(turn, ANYWHERE) == "teacher" for turn in range(low + width, low + width + 5))


@given(seed=SEEDS, iteration=st.integers(1, 10))
def test_one_seed_gives_one_trajectory(seed, iteration):
    for mixture in (
        DaggerMixture(),
        AggrevateMixture(),
        TeacherPrefixMixture(schedule="uniform"),
        TrajectoryMixture(),
    ):
        assert acted(mixture, iteration, seed) == acted(mixture, iteration, seed)
