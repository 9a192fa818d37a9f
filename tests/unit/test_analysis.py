"""What students do beside their teacher, counted: every figure with its arithmetic."""

from dataclasses import replace

import pytest
from recorded_trajectories import labelled_turn, trajectory

from turnmix.analysis.agreement import agreements, first_deviation
from turnmix.analysis.bootstrap import ratio_estimate
from turnmix.analysis.judged_turns import agreement, judged_trajectories, label_nll
from turnmix.analysis.scored import ScoredTrajectory, TurnScore
from turnmix.core.trajectory import StopReason
from turnmix.policies.scripted import call_action
from turnmix.recipe.recipe import recipe_of
from turnmix.running.analysing_teacher import AnalysingTeacher

EVERY = {
    "any": lambda turn: True,
    "until": lambda turn: not turn.is_after_deviation,
    "after": lambda turn: turn.is_after_deviation,
}


def scored(*turns, kinds="abcdef", **options):
    """A trajectory of turns (action, label, nats of the label); each label has two tokens."""
    recorded = [labelled_turn("student", action, label) for action, label, _ in turns]
    scores = [
        TurnScore(label_kind=kind, label_tokens=2, label_nll=nats, is_greedy=action == label)
        for kind, (action, label, nats) in zip(kinds, turns, strict=False)
    ]
    return ScoredTrajectory(trajectory=trajectory("own001-00000", *recorded, **options), scores=tuple(scores))


STRAYED = scored(("a", "a", 0.5), ("b", "c", 1.5), ("d", "e", 3.0), ("f", "f", 1.0))
STRAIGHT = scored(("a", "a", 0.1), ("b", "b", 0.3))


def test_states_are_those_up_to_the_first_deviation_and_those_after_it():
    found = judged_trajectories([STRAYED, STRAIGHT])
    assert [each.deviates for each in found] == [True, False]
    # nats: 0.5 + 1.5 + 3 + 1 + 0.1 + 0.3 of 12 tokens; the deviation's own state is before it
    nats = {"any": 6.4 / 12, "until": 2.4 / 8, "after": 4.0 / 4}
    shares = {"any": 4 / 6, "until": 3 / 4, "after": 1 / 2}
    for name, is_counted in EVERY.items():
        assert label_nll(found, is_counted).value == pytest.approx(nats[name])
        assert agreement(found, is_counted).value == pytest.approx(shares[name])


def test_a_trajectory_that_failed_around_the_agent_and_a_label_that_nobody_could_say_count_nowhere():
    failed = scored(("a", "b", 9.0), stop_reason=StopReason.infra_error, verdict=None)
    unsaid = replace(STRAIGHT, scores=(TurnScore(label_kind="a"), STRAIGHT.scores[1]))
    found = judged_trajectories([failed, unsaid])
    assert len(found) == 1
    assert label_nll(found, EVERY["any"]).value == pytest.approx(0.3 / 2)
    assert agreement(found, EVERY["any"]).value == 1.0  # what was done is known all the same


def test_calls_agree_by_tool_and_arguments_whatever_is_said_beside_and_an_accident_agrees_with_nobody():
    same, other = call_action("add", amount=1), call_action("add", amount=2)
    thought = replace(same, message=replace(same.message, content="I add one."))
    unread = replace(same, parse_error="cut short")
    accident = replace(labelled_turn("student", other), actor="accident", label=same)
    turns = [replace(labelled_turn("student", action), label=same) for action in (thought, other, unread)]
    told = trajectory("t-0", *turns, accident, labelled_turn("teacher", same), labelled_turn("student", same))
    assert agreements(told) == [True, False, False, None, True, None]
    assert first_deviation(agreements(told)) == 1
    assert first_deviation([True, None, True]) is None


def test_in_the_teachers_states_the_student_agrees_where_it_finds_the_label_likeliest():
    turns = [labelled_turn("teacher", "a"), labelled_turn("teacher", "b")]
    scores = [TurnScore(label_tokens=1, label_nll=0.1, is_greedy=is_greedy) for is_greedy in (True, False)]
    in_its_states = ScoredTrajectory(trajectory=trajectory("t", *turns), scores=tuple(scores))
    (found,) = judged_trajectories([in_its_states], by_greedy=True)
    assert agreement([found], EVERY["any"]).value == 0.5


def test_an_interval_of_a_ratio_covers_it_in_about_19_of_20_draws_and_is_the_same_each_time():
    import numpy as np

    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        tokens = generator.integers(5, 40, size=60)
        nats = tokens * generator.gamma(2.0, 0.25, size=60)  # the mean is 0.5 nats a token
        found = ratio_estimate(nats, tokens)
        covered += found.low <= 0.5 <= found.high
    assert 175 <= covered <= 199  # 190 expected; a percentile interval is a little short
    assert ratio_estimate(nats, tokens) == found


def test_how_often_a_teacher_that_costs_will_be_asked_is_said_before_it_is():
    told = []
    teacher = {"kind": "endpoint", "endpoint": "http://127.0.0.1:9/v1", "model": "big"}
    for given in (teacher, {"kind": "oracle"}):
        recipe = recipe_of({"method": "dagger", "teacher": given, "scaffold": {"max_turns": 30}})
        reporter = type("Told", (), {"note": staticmethod(told.append)})
        asked = AnalysingTeacher(recipe, source=None, moment=None, reporter=reporter)
        asked.announce(labelled=200, acted=50, mean_turns=12.5)
        asked.announce(labelled=0, acted=0, mean_turns=12.5)
    (line,) = told
    assert "every state of 200 trajectories of the student, and acts in 50 of its own" in line
    assert line.endswith("about 3,125, at most 7,500 answers")
