"""Who acts. Statistical tests state how likely a right mixture is to miss their bounds; seeds are fixed."""

import doctest
import random

import pytest
from pydantic import ValidationError

from turnmix.core.trajectory import State
from turnmix.rollout import prefixes, shares
from turnmix.rollout.mixture import (
    MIXTURES,
    AggrevateMixtureSettings,
    DaggerMixtureSettings,
    StudentMixture,
    StudentMixtureSettings,
    TeacherMixture,
    TeacherMixtureSettings,
    TeacherPrefixMixtureSettings,
    TrajectoryMixtureSettings,
)
from turnmix.rollout.prefixes import AggrevateMixture, TeacherPrefixMixture
from turnmix.rollout.shares import DaggerMixture, TrajectoryMixture

ANYWHERE = State(messages=(), tools=())


def acted(mixture, iteration, seed, num_turns):
    actor = mixture.actors(iteration, random.Random(seed))
    return [actor(turn, ANYWHERE) for turn in range(num_turns)]


@pytest.mark.parametrize("module", [shares, prefixes])
def test_the_worked_examples_hold(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0


def test_beta_decays_linearly_from_one_to_its_floor():
    # max(0.6, 1 − 0.2·(i − 1)): 1, 0.8, 0.6, then 0.4 is below the floor.
    assert [DaggerMixture().beta(i) for i in range(1, 6)] == pytest.approx([1, 0.8, 0.6, 0.6, 0.6])


@pytest.mark.parametrize(
    ("parameters", "betas"),
    [
        # Both schedules that are told of the paper: five rounds down to 0.6, and ten down to 0.
        ({}, [1, 0.8, 0.6, 0.6, 0.6]),
        ({"floor": 0}, [1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0, 0]),
        # Half of it is lost each time: 0.8, 0.4, 0.2, then 0.1 is below the floor.
        ({"schedule": "exponential", "start": 0.8, "decay": 0.5, "floor": 0.15}, [0.8, 0.4, 0.2, 0.15]),
        # Three iterations share one: 1, then 0.6, then 0.2, then −0.2 is below the floor.
        (
            {"schedule": "step", "decay": 0.4, "floor": 0, "every": 3},
            [1, 1, 1, 0.6, 0.6, 0.6, 0.2, 0.2, 0.2, 0],
        ),
        # The first DAgger: the teacher in the first iteration alone.
        ({"schedule": "step", "decay": 1, "floor": 0, "every": 1}, [1, 0, 0, 0]),
        ({"schedule": "constant", "start": 0.3}, [0.3, 0.3, 0.3]),
    ],
)
def test_beta_follows_the_schedule_of_its_name(parameters, betas):
    mixture = DaggerMixtureSettings(**parameters).make()
    assert [mixture.beta(i) for i in range(1, len(betas) + 1)] == pytest.approx(betas)


def test_a_share_that_starts_lower_lets_the_student_act_from_the_first_iteration_on():
    fading = DaggerMixture(start=0.5, decay=0.25, floor=0)
    assert [fading.beta(i) for i in range(1, 5)] == [0.5, 0.25, 0, 0]


def test_iteration_one_of_the_paper_schedule_is_the_teacher_alone():
    assert set(acted(DaggerMixture(), 1, 0, 1000)) == {"teacher"}


def test_the_realised_share_of_dagger_is_beta():
    # 20,000 draws at β = 0.6: standard deviation √(0.6·0.4/20000) = 0.00346. The bound of 0.0155 is 4.48 of
    # them: a right mixture misses it with probability 7e-6.
    actors = [actor for seed in range(1000) for actor in acted(DaggerMixture(), 3, seed, 20)]
    assert abs(actors.count("teacher") / 20_000 - 0.6) < 0.0155


def test_neighbouring_turns_of_dagger_are_independent():
    # P(teacher, teacher) = 0.36 over 10,000 disjoint pairs: standard deviation √(0.36·0.64/10000) = 0.0048.
    # The bound is 4.5 of them: error probability 7e-6.
    pairs = 0
    for seed in range(1000):
        actors = acted(DaggerMixture(), 3, seed, 20)
        pairs += sum(actors[t] == actors[t + 1] == "teacher" for t in range(0, 20, 2))
    assert abs(pairs / 10_000 - 0.36) < 0.0216


def test_the_draw_of_a_turn_does_not_depend_on_which_turns_were_asked_before():
    in_order = acted(DaggerMixture(), 3, 7, 30)
    actor = DaggerMixture().actors(3, random.Random(7))
    backwards = [actor(turn, ANYWHERE) for turn in reversed(range(30))]
    assert backwards[::-1] == in_order
    assert [actor(turn, ANYWHERE) for turn in range(30)] == in_order


def test_prefix_mass_moves_to_longer_prefixes():
    mixture = AggrevateMixture(support=(2, 8), shift=3)
    means = []
    for iteration in range(1, 8):
        probabilities = mixture.prefix_probabilities(iteration)
        assert sum(probabilities) == pytest.approx(1)
        means.append(sum(k * p for k, p in zip(range(2, 9), probabilities, strict=True)))
    assert means[0] == pytest.approx(5)
    assert means == sorted(means)
    assert 7.5 < means[-1] <= 8


def test_the_longest_prefix_gains_the_factor_shift_with_each_iteration():
    mixture = AggrevateMixture(support=(0, 5), shift=3)
    for iteration in (1, 2, 3):
        probabilities = mixture.prefix_probabilities(iteration)
        assert probabilities[-1] / probabilities[0] == pytest.approx(3 ** (iteration - 1))


def test_prefixes_are_uniform_up_to_a_longest_that_grows_to_the_end_of_the_support():
    # T_max(i) = min(5, 1 + 2·i): 3, 5, 5. Of 6,000 prefixes, each of n lengths has a share of 1/n with a standard
    # deviation of at most √(1/3·2/3/6000) = 0.0061; the bound is 4.6 of them: error probability of all below 4e-5.
    mixture = AggrevateMixture(support=(1, 5), schedule="uniform", growth=2)
    for iteration, longest in ((1, 3), (2, 5), (3, 5)):
        lengths = [acted(mixture, iteration, seed, 6).count("student") for seed in range(6000)]
        assert set(lengths) == set(range(1, longest + 1))
        assert all(abs(lengths.count(each) / 6000 - 1 / longest) < 0.028 for each in set(lengths))


def test_growing_prefixes_are_the_longest_of_their_iteration():
    mixture = AggrevateMixture(support=(0, 5), schedule="growing", growth=2)
    for iteration, prefix in ((1, 2), (2, 4), (3, 5), (4, 5)):
        for seed in range(20):
            assert acted(mixture, iteration, seed, 7) == ["student"] * prefix + ["teacher"] * (7 - prefix)


def test_a_shrinking_teacher_prefix_leaves_ever_more_of_the_end_to_the_student():
    mixture = TeacherPrefixMixture(support=(0, 5), shrink=2)
    for iteration, prefix in ((1, 5), (2, 3), (3, 1), (4, 0), (5, 0)):
        for seed in range(20):
            assert acted(mixture, iteration, seed, 7) == ["teacher"] * prefix + ["student"] * (7 - prefix)


def test_a_uniform_teacher_prefix_is_drawn_for_each_trajectory_and_the_students_turns_are_limited():
    # Four lengths, 4,000 prefixes: standard deviation √(1/4·3/4/4000) = 0.0068; the bound is 4.4 of them: error
    # probability of the four shares below 5e-5.
    mixture = TeacherPrefixMixture(support=(0, 3), schedule="uniform", student_turns=2)
    prefixes_drawn = []
    for seed in range(4000):
        actors = acted(mixture, 1, seed, 8)
        prefix = actors.index("student")
        assert actors == ["teacher"] * prefix + ["student"] * 2 + ["teacher"] * (6 - prefix)
        prefixes_drawn.append(prefix)
    assert all(abs(prefixes_drawn.count(each) / 4000 - 0.25) < 0.03 for each in range(4))
    assert max(prefixes_drawn) == 3


def test_a_trajectory_is_the_students_with_the_probability_of_its_share_and_the_teachers_else():
    # 10,000 trajectories at 0.3: standard deviation √(0.3·0.7/10000) = 0.0046; the bound is 4.6 of them: error
    # probability 4e-6.
    mixture = TrajectoryMixture(student_share=0.3)
    whole = [set(acted(mixture, 1, seed, 5)) for seed in range(10_000)]
    assert all(len(each) == 1 for each in whole)
    assert abs(whole.count({"student"}) / 10_000 - 0.3) < 0.021
    assert mixture.beta(1) == pytest.approx(0.7)
    for share, actor in ((0, "teacher"), (1, "student")):
        every = (acted(TrajectoryMixture(student_share=share), 1, seed, 2) for seed in range(200))
        assert all(each == [actor] * 2 for each in every)


def test_late_iterations_of_a_steep_shift_stay_finite():
    assert AggrevateMixture(support=(0, 5), shift=1000).prefix_probabilities(500)[-1] == pytest.approx(1)


def test_aggrevate_hands_over_once_and_within_its_support():
    for seed in range(500):
        actors = acted(AggrevateMixture(support=(2, 5)), 2, seed, 12)
        prefix = actors.index("teacher")
        assert 2 <= prefix <= 5
        assert actors == ["student"] * prefix + ["teacher"] * (12 - prefix)


def test_realised_prefix_lengths_follow_their_probabilities():
    # Support 0 … 2, shift 4, iteration 2: 1/7, 2/7, 4/7. Each share of 10,000 has a standard deviation of at
    # most √(4/7·3/7/10000) = 0.00495; the bound of 0.0235 is 4.75 of them: error probability
    # of the three shares below 1e-5.
    mixture = AggrevateMixture(support=(0, 2), shift=4)
    lengths = [acted(mixture, 2, seed, 3).count("student") for seed in range(10_000)]
    for length, expected in enumerate((1 / 7, 2 / 7, 4 / 7)):
        assert abs(lengths.count(length) / 10_000 - expected) < 0.0235


def test_a_support_of_one_length_is_that_length():
    assert acted(AggrevateMixture(support=(3, 3)), 4, 0, 5) == ["student"] * 3 + ["teacher"] * 2


def test_teacher_and_student_alone_never_mix():
    assert set(acted(TeacherMixture(), 1, 0, 200)) == {"teacher"}
    assert set(acted(StudentMixture(), 0, 0, 200)) == {"student"}
    assert (TeacherMixture().beta(1), StudentMixture().beta(1)) == (1.0, 0.0)
    assert AggrevateMixture().beta(1) is None


@pytest.mark.parametrize(
    "mixture",
    [
        *(DaggerMixture(schedule=each) for each in ("linear", "exponential", "step", "constant")),
        *(AggrevateMixture(schedule=each) for each in ("shift", "uniform", "growing")),
        TeacherPrefixMixture(),
    ],
)
def test_iterations_are_counted_from_one(mixture):
    with pytest.raises(ValueError, match="counted from 1, not 0"):
        mixture.actors(0, random.Random(0))


def test_settings_show_the_defaults_of_their_kind_and_no_others():
    assert DaggerMixtureSettings().model_dump() == {
        "kind": "dagger",
        "schedule": "linear",
        "start": 1.0,
        "decay": 0.2,
        "floor": 0.6,
        "every": None,
    }
    assert AggrevateMixtureSettings().model_dump() == {
        "kind": "aggrevate",
        "schedule": "shift",
        "support": (0, 10),
        "shift": 4.0,
        "growth": None,
    }
    assert TeacherMixtureSettings().model_dump() == {"kind": "teacher"}


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [
        *(("dagger", each) for each in ("linear", "exponential", "step", "constant")),
        *(("aggrevate", each) for each in ("shift", "uniform", "growing")),
        *(("teacher_prefix", each) for each in ("shrinking", "uniform")),
        *((each, None) for each in ("trajectory", "teacher", "student")),
    ],
)
def test_dumped_settings_load_again(kind, schedule):
    settings = MIXTURES[kind](**({} if schedule is None else {"schedule": schedule}))
    assert MIXTURES[kind].model_validate(settings.model_dump()) == settings


def test_a_parameter_of_another_kind_is_refused_with_the_fix():
    with pytest.raises(
        ValidationError, match=r"mixture\.floor = 0\.5: the aggrevate mixture has no floor; .*dagger"
    ):
        AggrevateMixtureSettings(floor=0.5)
    with pytest.raises(ValidationError, match=r"mixture\.shift = 2: the teacher mixture has no shift"):
        TeacherMixtureSettings(shift=2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"decay": -0.1}, "decay must be 0 or more, not -0.1"),
        ({"start": 0.5}, "floor 0.6 is above start 0.5"),
        ({"floor": 1.5}, "floor must be between 0 and 1, not 1.5"),
        ({"kind": "aggrevate", "support": [5, 2]}, r"support must be .* not \[5, 2\]"),
        ({"kind": "aggrevate", "shift": 0.5}, "shift must be between 1 .* not 0.5"),
        ({"schedule": "exponential", "decay": 1.5}, "exponential: from 0 to 1, not 1.5"),
        ({"schedule": "step", "every": 0}, "every must be 1 iteration or more, not 0"),
        (
            {"schedule": "constant", "floor": 0.5},
            r"mixture\.floor = 0\.5: the schedule constant has no floor: set it to null, .*schedule to linear",
        ),
        (
            {"every": 2},
            r"mixture\.every = 2: the schedule linear has no every: .* or mixture\.schedule to step",
        ),
        ({"schedule": "cosine"}, "'linear', 'exponential', 'step' or 'constant'"),
        (
            {"kind": "aggrevate", "growth": 2},
            r"the schedule shift has no growth: .* to uniform or growing",
        ),
        ({"kind": "aggrevate", "schedule": "uniform", "shift": 2}, "the schedule uniform has no shift"),
        ({"kind": "aggrevate", "schedule": "growing", "growth": 0}, "growth must be 1 turn or more, not 0"),
        ({"kind": "teacher_prefix", "support": [3, 1]}, r"support must be .* not \[3, 1\]"),
        ({"kind": "teacher_prefix", "shrink": 0}, "shrink must be 1 turn or more, not 0"),
        ({"kind": "teacher_prefix", "student_turns": 0}, "student_turns must be 1 or more, .* not 0"),
        (
            {"kind": "teacher_prefix", "schedule": "uniform", "shrink": 2},
            "the schedule uniform has no shrink: .* to shrinking",
        ),
        ({"kind": "trajectory", "student_share": 1.5}, "student_share must be between 0 and 1, not 1.5"),
    ],
)
def test_impossible_parameters_are_refused_with_their_value(parameters, message):
    with pytest.raises(ValidationError, match=message):
        MIXTURES[parameters.get("kind", "dagger")](**parameters)


def test_settings_make_the_mixture_they_describe():
    assert DaggerMixtureSettings(decay=0.1, floor=0.2).make() == DaggerMixture(decay=0.1, floor=0.2)
    described = AggrevateMixtureSettings(support=(1, 4), shift=2)
    assert described.make() == AggrevateMixture(support=(1, 4), shift=2)
    growing = AggrevateMixtureSettings(schedule="growing", growth=3)
    assert growing.make() == AggrevateMixture(schedule="growing", growth=3)
    prefixed = TeacherPrefixMixtureSettings(support=(1, 4), schedule="uniform", student_turns=2)
    assert prefixed.make() == TeacherPrefixMixture(support=(1, 4), schedule="uniform", student_turns=2)
    assert TrajectoryMixtureSettings(student_share=0.25).make() == TrajectoryMixture(student_share=0.25)
    assert TeacherMixtureSettings().make() == TeacherMixture()
    assert StudentMixtureSettings().make() == StudentMixture()
