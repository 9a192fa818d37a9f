"""Who acts. Statistical tests state how likely a right mixture is to miss their bounds; seeds are fixed."""

import doctest
import random

import pytest
from pydantic import ValidationError

from turnmix.core.trajectory import State
from turnmix.rollout import mixture as mixture_module
from turnmix.rollout.mixture import (
    MIXTURES,
    AggrevateMixture,
    AggrevateMixtureSettings,
    DaggerMixture,
    DaggerMixtureSettings,
    StudentMixture,
    StudentMixtureSettings,
    TeacherMixture,
    TeacherMixtureSettings,
)

ANYWHERE = State(messages=(), tools=())


def acted(mixture, iteration, seed, num_turns):
    actor = mixture.actors(iteration, random.Random(seed))
    return [actor(turn, ANYWHERE) for turn in range(num_turns)]


def test_the_worked_examples_hold():
    failed, attempted = doctest.testmod(mixture_module)
    assert attempted > 0
    assert failed == 0


def test_beta_decays_linearly_from_one_to_its_floor():
    # max(0.6, 1 − 0.2·(i − 1)): 1, 0.8, 0.6, then 0.4 is below the floor.
    assert [DaggerMixture().beta(i) for i in range(1, 6)] == pytest.approx([1, 0.8, 0.6, 0.6, 0.6])


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


@pytest.mark.parametrize("mixture", [DaggerMixture(), AggrevateMixture()])
def test_iterations_are_counted_from_one(mixture):
    with pytest.raises(ValueError, match="counted from 1, not 0"):
        mixture.actors(0, random.Random(0))


def test_settings_show_the_defaults_of_their_kind_and_no_others():
    assert DaggerMixtureSettings().model_dump() == {
        "kind": "dagger",
        "start": 1.0,
        "decay": 0.2,
        "floor": 0.6,
    }
    assert AggrevateMixtureSettings().model_dump() == {
        "kind": "aggrevate",
        "support": (0, 10),
        "shift": 4.0,
    }
    assert TeacherMixtureSettings().model_dump() == {"kind": "teacher"}


@pytest.mark.parametrize("kind", ["dagger", "aggrevate", "teacher", "student"])
def test_dumped_settings_load_again(kind):
    settings = MIXTURES[kind]()
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
    ],
)
def test_impossible_parameters_are_refused_with_their_value(parameters, message):
    with pytest.raises(ValidationError, match=message):
        MIXTURES[parameters.get("kind", "dagger")](**parameters)


def test_settings_make_the_mixture_they_describe():
    assert DaggerMixtureSettings(decay=0.1, floor=0.2).make() == DaggerMixture(decay=0.1, floor=0.2)
    described = AggrevateMixtureSettings(support=(1, 4), shift=2)
    assert described.make() == AggrevateMixture(support=(1, 4), shift=2)
    assert TeacherMixtureSettings().make() == TeacherMixture()
    assert StudentMixtureSettings().make() == StudentMixture()
