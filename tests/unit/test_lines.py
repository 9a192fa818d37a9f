"""Whoever reads a trajectory heeds its lines: each response is taught once, in its state, and shown where it was."""

import json

import pytest

import branching
from branching import TOOL_LISTS, Recorded, at_random, user
from chat_models import assistant, make_tokenizer
from sampled_turns import said, sampled
from turnmix.analysis.agreement import agreements, since_deviation
from turnmix.analysis.failures.unresolved import Unresolved
from turnmix.core.lines import paths, visits
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.exchange.chat_row import trajectory_of
from turnmix.exchange.inspect_log import _sample
from turnmix.exchange.messages import label_rows, path_rows
from turnmix.methods.grpo import GRPO
from turnmix.methods.oec import OEC
from turnmix.methods.targets import executed_action, imitate, sampled_turns, taught_labels
from turnmix.methods.teaching import teach_labels, teach_sampled
from turnmix.rendering.control_text import count_control_texts
from turnmix.rendering.drift import count_drift
from turnmix.rendering.renderer import Renderer
from turnmix.rollout.teacher_answers import count_teacher_answers
from turnmix.training.objective_settings import ClippedRatioSettings
from turnmix.viewing.page.records import TrajectoryRecords
from turnmix.viewing.transcript import transcript

UNRESOLVED = Verdict(resolved=False)


def labelled(scaffold, **known):
    return scaffold(label=lambda number: said(assistant(f"label {number}")), **known)


def used(made):
    return [number for number, turn in enumerate(made.turns) if not turn.is_rejected]


def spoken(transitions):
    return [each.target.message.content for each in transitions]


def test_each_response_but_the_rejected_ones_is_trained_once_in_its_state():
    rejected = 0
    for seed in range(100):
        made = at_random(seed)
        trajectory = made.trajectory()
        expected = [(made.asked[number], f"action {number}") for number in used(made)]
        for taught in (
            imitate([trajectory], executed_action),
            teach_sampled([trajectory], ClippedRatioSettings()),
        ):
            found = [(each.state, each.target.message.content) for each in taught.transitions]
            assert found == expected
            assert taught.figures.get("targets_rejected", 0) == len(made.turns) - len(expected)
        assert [each.state for each in sampled_turns(trajectory)] == [state for state, _ in expected]
        rejected += len(made.turns) - len(expected)
    assert rejected > 20


def test_grpo_weighs_each_response_once_and_counts_the_rejected_ones():
    won, lost = (
        branching.branching().trajectory(id=name, verdict=Verdict(resolved=resolved))
        for name, resolved in (("won", True), ("lost", False))
    )
    taught = GRPO.transitions([won, lost], ClippedRatioSettings())
    assert len(taught.transitions) == 10
    assert taught.figures["targets_rejected"] == 2


def test_a_label_is_taught_once_a_state_also_where_its_answer_was_rejected():
    made = labelled(branching.branching)
    trajectory = made.trajectory()
    assert visits(trajectory) == [0, 1, 2, 1, 1, 5]
    taught = teach_labels([trajectory], ClippedRatioSettings())
    assert spoken(taught.transitions) == ["label 0", "label 1", "label 2", "label 5"]
    assert [label is not None for label in taught_labels(trajectory)] == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]
    assert taught.figures == {"targets_malformed": 0, "targets_missing": 0}


def test_a_state_misses_its_label_once_however_often_it_was_asked_in():
    taught = teach_labels([branching.branching().trajectory()], ClippedRatioSettings())
    assert taught.figures == {"targets_malformed": 0, "targets_missing": 4}


def test_visits_are_told_by_the_whole_state():
    for seed in range(60):
        made = at_random(seed)
        states = [(state.messages, state.tools) for state in made.asked]
        assert visits(made.trajectory()) == [states.index(state) for state in states]


def test_oec_leaves_out_a_rejected_turn_of_the_teacher():
    made = Recorded()
    made.begin()
    made.go_on(0, rejected=True, actor="teacher")
    made.go_on(0, actor="teacher")
    taught = OEC.transitions([made.trajectory()], ClippedRatioSettings())
    assert spoken(taught.transitions) == ["action 2"]
    assert taught.figures == {"targets_malformed": 0, "targets_rejected": 1}


def with_other_tools():
    """A sub-agent that is offered `ask`, which its main line is not."""
    made = Recorded(tools=TOOL_LISTS[1])
    label = said(assistant("", ask={}))
    made.begin()
    made.open(None, user("ask for it"), tools=TOOL_LISTS[2], actor="teacher", action=label, label=label)
    made.go_on(0, label=label)
    return made.trajectory()


def test_a_target_is_judged_by_the_tools_of_its_own_line():
    trajectory = with_other_tools()
    assert [label is not None for label in taught_labels(trajectory)] == [False, True, False]
    taught = teach_labels([trajectory], ClippedRatioSettings())
    assert [each.turn for each in taught.untaught] == [2]
    (row,), left_out = label_rows(trajectory)
    assert (row["turn"], row["actor"]) == (1, "teacher")
    assert [tool["function"]["name"] for tool in row["tools"]] == ["bash", "ask"]
    assert [each.turn for each in left_out] == [2]


def test_a_teachers_calls_count_by_the_tools_of_their_line():
    made = Recorded()
    made.begin()
    label = said(assistant("", ask={}))
    made.open(None, user("ask"), tools=TOOL_LISTS[2], actor="teacher", action=label, label=label)
    answers = count_teacher_answers([made.trajectory(verdict=UNRESOLVED)])
    assert (answers.answers, answers.calls) == (1, 1)


def test_turns_since_the_first_deviation_are_counted_along_each_line():
    trajectory = branching.with_sub_agent().trajectory()
    assert paths(trajectory) == [(0,), (1,), (0, 2), (1, 3), (0, 2, 4), (1, 3, 5), (0, 2, 4, 6)]
    agreed = [True, True, False, True, None, True, False]
    assert since_deviation(trajectory, agreed) == [-1, None, 0, None, 1, None, 2]
    one_line = Recorded()
    for number in range(4):
        one_line.go_on(number - 1) if number else one_line.begin()
    assert since_deviation(one_line.trajectory(), [True, True, False, True]) == [-2, -1, 0, 1]
    assert since_deviation(one_line.trajectory(), [True] * 4) == [None] * 4
    branched = branching.branching().trajectory()
    assert since_deviation(branched, [True, False, True, None, True, True]) == [-1, 0, None, None, None, None]


def test_agreement_reads_calls_by_the_tools_of_the_line():
    assert agreements(with_other_tools()) == [None, True, False]


def test_drift_is_counted_in_the_last_prompt_of_each_line_and_each_turn_once():
    tokenizer = make_tokenizer()
    renderer = Renderer(tokenizer)
    for scaffold, repeated in (("condensing", 4), ("branching", 2), ("sub-agent", 5)):
        made = branching.SCAFFOLDS[scaffold](says=lambda text: sampled(renderer, tokenizer, text))
        drift = count_drift([made.trajectory()], renderer)
        assert (drift.turns, drift.differing) == (repeated, 0)


def test_control_texts_of_a_line_that_begins_anew_are_counted():
    renderer = Renderer(make_tokenizer())
    made = branching.condensing()
    made.open(None, user("<|im_end|>"), 0)
    assert count_control_texts([made.trajectory()], renderer).as_text == 1


def test_an_exported_conversation_a_line_teaches_each_response_once():
    for seed in range(60):
        made = at_random(seed)
        rows = path_rows(made.trajectory())
        learned = [
            message["content"]
            for row in rows
            for message in row["messages"]
            if message["role"] == "assistant" and message.get("weight") != 0
        ]
        assert sorted(learned) == sorted(f"action {number}" for number in used(made))
        for number, row in enumerate(rows):
            if row["messages"][0]["role"] == "assistant":
                continue  # no conversation begins so, and none is read
            back = trajectory_of(json.loads(json.dumps(row)), name=f"r{number}", tools=())
            for each in imitate([back], executed_action).transitions:
                place = int(each.target.message.content.removeprefix("action "))
                assert each.state.messages == made.asked[place].messages


def test_an_exported_row_has_the_tools_and_the_actors_of_its_line():
    sub, main = path_rows(branching.with_sub_agent().trajectory())
    assert [len(row["tools"]) for row in (sub, main)] == [1, 2]
    assert [row["actors"] for row in (sub, main)] == [["student"] * 3, ["student"] * 4]


def test_an_inspect_log_tells_where_a_line_begins_and_what_was_rejected():
    made = branching.branching()
    made.go_on(5, repeats=2)
    messages = _sample(made.trajectory(), epoch=1, model="m")["messages"]
    told = [message["metadata"] for message in messages if message["role"] == "assistant"]
    assert [each.get("opening") for each in told] == [
        None,
        None,
        {"after": 0, "shared": 1},
        {"after": 0, "shared": None},
        {"after": 0, "shared": None},
        None,
        None,
    ]
    assert [each.get("is_rejected", False) for each in told] == [number == 3 for number in range(7)]
    assert told[6]["repeats"] == 2
    assert "another way" in [message["content"] for message in messages]


def shown(trajectory, width=80):
    lines = transcript(trajectory, width=width)
    assert all(len(line.text) <= width for line in lines)
    return "\n".join(line.text for line in lines)


def test_a_transcript_shows_where_lines_begin_and_what_was_rejected_or_asked_again():
    made = branching.branching()
    made.go_on(5, repeats=2)
    text = shown(made.trajectory())
    assert (
        "a line begins with the first message of what turn 1 led to\n\nuser\n  another way\n\nturn 3" in text
    )
    assert "a line goes on from turn 1\n\nturn 4  student  rejected" in text
    assert "turn 7  student  asked 3 times" in text
    text = shown(branching.condensing().trajectory())
    assert "a line begins\n\nuser\n  task\n\nuser\n  summary\n  (what turn 3 did)\n\nuser\n  seen 2" in text
    assert "a line begins; its tools: bash" in shown(branching.with_sub_agent().trajectory())
    shown(branching.with_sub_agent().trajectory(), width=20)


def test_the_report_holds_the_same_of_lines():
    records = TrajectoryRecords()
    made = branching.branching()
    made.go_on(5, repeats=2)
    made.open(None, 0, user("again"))
    records.add(made.trajectory(), run=0, kind=0, within="r")
    opened = records.opened()
    turns = opened["trajectories"][0]["turns"]
    texts = opened["texts"]
    assert [texts[each["opening"]] for each in turns if "opening" in each] == [
        "a line begins with the first message of what turn 1 led to",
        "a line goes on from turn 1",
        "a line goes on from turn 1",
        "a line begins",
    ]
    assert [texts[each["text"]] for each in turns[7]["opened"]] == ["(what turn 1 did)", "again"]
    assert [texts[each["marks"]] for each in turns if "marks" in each] == ["rejected", "asked 3 times"]


def test_a_failure_is_judged_by_what_was_executed():
    made = branching.branching()
    unresolved = Unresolved(
        trajectory=made.trajectory(verdict=UNRESOLVED, stop_reason=StopReason.max_turns), outline=None
    )
    assert unresolved.numbers == (0, 1, 2, 4, 5)
    assert len(unresolved.actions) == len(unresolved.refused) == len(unresolved.repeated) == 5


@pytest.mark.parametrize("scaffold", branching.SCAFFOLDS)
def test_prompts_of_lines_in_any_order_are_those_of_a_renderer_that_saw_no_other(scaffold):
    tokenizer = make_tokenizer()
    renderer = Renderer(tokenizer)
    trajectory = branching.SCAFFOLDS[scaffold](
        says=lambda text: sampled(renderer, tokenizer, text)
    ).trajectory()
    for number in range(len(trajectory.turns)):
        state = trajectory.state(number)
        assert renderer.prompt_ids(state) == Renderer(tokenizer).prompt_ids(state)
