"""A label is taught only if the student can say it: its tokens are read back by the student's own parser."""

import json
import random

import pytest

from chat_models import (
    CODER_TEMPLATE,
    HERMES_TEMPLATE,
    TOOLS,
    assistant,
    conversation,
    make_model,
    make_tokenizer,
)
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.rendering.readback import written_target
from turnmix.rendering.renderer import Renderer
from turnmix.training.forest import grow_forest
from turnmix.training.learner import Learner
from turnmix.training.learner_settings import LearnerSettings


def transition(message, state=None, **action):
    target = Action(message=message, **action)
    return Transition(state=state or conversation(), target=target, trajectory_id="a", task_id="t")


def grown(template, *items, tool_calls="native"):
    renderer = Renderer(make_tokenizer(template), tool_calls=tool_calls)
    return grow_forest(
        items, renderer, LearnerSettings(), max_context=100_000, needs_reference_logprobs=False
    )


UNWRITABLE = [
    (
        CODER_TEMPLATE,
        assistant("", edit={"path": "x</parameter>\n<parameter=text>\ny"}),
        "reads_back_otherwise",
    ),
    (
        CODER_TEMPLATE,
        assistant("", edit={"path": "</parameter>\n</function>\n</tool_call>"}),
        "reads_back_as_malformed",
    ),
    (HERMES_TEMPLATE, assistant("It looks for `<tool_call>` first.", finish={}), "reads_back_as_malformed"),
    (HERMES_TEMPLATE, assistant("I finish. ", finish={}), "reads_back_otherwise"),
    (HERMES_TEMPLATE, Message(role="assistant", content="half \ud800"), "template_refuses"),
]


@pytest.mark.parametrize(("template", "message", "reason"), UNWRITABLE)
def test_what_the_student_cannot_say_is_not_taught_and_has_its_reason(template, message, reason):
    good = assistant("I finish.", finish={})
    forest = grown(template, transition(message), transition(good))
    assert sum(tree.num_labels for tree in forest.trees) == sum(
        tree.num_labels for tree in grown(template, transition(good)).trees
    )
    (left_out,) = forest.untaught
    assert left_out.objection.reason == reason
    assert not left_out.objection.is_malformed
    assert left_out.target.message is message


@pytest.mark.parametrize("template", [HERMES_TEMPLATE, CODER_TEMPLATE])
def test_text_that_names_the_end_of_a_turn_is_taught_as_text_and_left_out_where_it_cannot_be(template):
    message = assistant("", edit={"path": "a", "text": "STOP = '<|im_end|>'\n"})
    renderer = Renderer(make_tokenizer(template))
    ids = renderer.target_ids(conversation(), Action(message=message))
    assert [token for token in ids if token in renderer.stop_ids] == [ids[-1]]
    assert renderer.parse(ids, TOOLS).message == message
    assert grown(template, transition(message)).untaught == ()
    blunt = Renderer(make_tokenizer(template), keeps_control_text=False)
    objection = written_target(blunt, conversation(), Action(message=message))
    assert objection.reason == "stop_token_inside"


@pytest.mark.parametrize("template", [HERMES_TEMPLATE, CODER_TEMPLATE])
def test_names_inside_of_arguments_stay_text_too(template):
    message = assistant("", edit={"path": "a", "options": {"<|im_end|>": {"<|im_start|>": 1}}})
    renderer = Renderer(make_tokenizer(template))
    assert (
        renderer.parse(renderer.target_ids(conversation(), Action(message=message)), TOOLS).message == message
    )
    assert grown(template, transition(message)).untaught == ()


def test_half_of_a_surrogate_pair_is_told_as_such():
    (left_out,) = grown(HERMES_TEMPLATE, transition(assistant("", edit={"path": "\ud800"}))).untaught
    assert "surrogate" in left_out.objection.detail


def test_the_detail_shows_where_the_readings_part():
    message = assistant("", edit={"path": "a" * 1000, "text": "x</parameter>\n<parameter=share>\n3"})
    (left_out,) = grown(CODER_TEMPLATE, transition(message)).untaught
    wanted, read = left_out.objection.detail.split(" reads back as ")
    assert "x</parameter>" in wanted
    assert '"share": 3' in read
    assert len(left_out.objection.detail) < 1000


def test_what_the_student_sampled_is_taught_as_it_is():
    tokens = make_tokenizer().encode("no turn at all <|im_end|> more", add_special_tokens=False)
    item = transition(assistant("", browse={}), token_ids=tuple(tokens))
    forest = grown(HERMES_TEMPLATE, item)
    assert forest.untaught == ()
    assert sum(tree.num_labels for tree in forest.trees) == len(tokens)


def test_calls_as_text_are_read_back_as_text():
    state = State(messages=(Message(role="user", content="Repair."),), tools=())
    good = '<tool_call>\n{"name": "finish", "arguments": {}}\n</tool_call>'
    bad = "<tool_call>\n{'name': 'finish'}\n</tool_call>"
    items = [transition(Message(role="assistant", content=text), state) for text in (good, bad, " ")]
    forest = grown(HERMES_TEMPLATE, *items, tool_calls="text")
    assert [one.objection.reason for one in forest.untaught] == ["call_could_not_be_read", "empty_answer"]


def test_a_fit_reports_what_it_left_out():
    tokenizer = make_tokenizer()
    learner = Learner(make_model(len(tokenizer)), Renderer(tokenizer), LearnerSettings(epochs=1))
    items = [transition(assistant("I finish.", finish={})), transition(assistant("", browse={}))]
    report = learner.fit(items, generator=random.Random(0))
    assert (report.transitions, report.label_tokens > 0) == (2, True)
    assert [(one.objection.reason, one.turn) for one in report.untaught] == [("unknown_tool", 0)]
    json.dumps(report.untaught[0].target.message.to_json())


def test_a_target_that_its_method_judged_by_the_same_tools_is_not_judged_by_them_again():
    renderer, action = Renderer(make_tokenizer(HERMES_TEMPLATE)), Action(message=assistant("", nowhere={}))
    assert written_target(renderer, conversation(), action).reason == "unknown_tool"
    ids = written_target(renderer, conversation(), action, is_well_formed=True)
    assert ids == renderer.target_ids(conversation(), action)
