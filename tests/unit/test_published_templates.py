"""Published manners of chat templates: accepted, accepted with calls as text, or refused with the reason and a remedy
that works."""

import re

import pytest

from published_templates import ACCEPTED, ROWS, tokenizer_of
from turnmix.core.errors import UserError
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.rendering import probe
from turnmix.rendering.renderer import Renderer


def told(row, tool_calls):
    """What a user is told; ACCEPTED: nothing."""
    try:
        Renderer(tokenizer_of(row), tool_calls=tool_calls).check()
    except UserError as error:
        return str(error)
    return ACCEPTED


def spelled(ids):
    return f",{','.join(map(str, ids))},"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_template_is_accepted_or_refused_with_its_reason_and_what_works(row):
    native, text = told(row, "native"), told(row, "text")
    for message, reason, other in ((native, row.native, text), (text, row.text, native)):
        assert bool(message) == bool(reason), message
        if message:
            assert re.search(rf"^student\.model: '{re.escape(row.name)}' .*{reason}", message, re.DOTALL)
            assert ("scaffold.tool_calls=" in message) == (other == ACCEPTED), message


@pytest.mark.parametrize("row", [row for row in ROWS if row.text == ACCEPTED], ids=lambda row: row.name)
def test_a_label_is_the_tokens_of_its_text_behind_the_prompt_and_later_prompts_hold_them(row):
    renderer = Renderer(tokenizer_of(row), tool_calls="text")
    state = probe.TEXT.states[0]
    label = Message(role="assistant", content="I look at the file. Done.")
    target = renderer.target_ids(state, Action(message=label))
    assert renderer.parse(target, ()).message == label
    user = Message(role="user", content="Go on.")
    later = renderer.prompt_ids(State(messages=(*state.messages, label, user), tools=()))
    assert spelled(target) in spelled(later)


@pytest.mark.parametrize("row", [row for row in ROWS if row.text == ACCEPTED], ids=lambda row: row.name)
def test_what_the_student_sampled_stands_in_the_next_prompt(row):
    renderer = Renderer(tokenizer_of(row), tool_calls="text")
    state = probe.TEXT.states[0]
    said = renderer.target_ids(state, Action(message=Message(role="assistant", content="I look at it.")))
    action = renderer.parse(said, ())
    user = Message(role="user", content="Go on.")
    after = State(messages=(*state.messages, action.message, user), tools=())
    assert renderer.kept_turns(after) == [True]
