"""Tool calls as text: described in the prompt, read from the answer, answered by a user's message."""

import asyncio

import pytest

from chat_models import make_tokenizer
from turnmix.core.errors import RecipeError, UserError
from turnmix.core.message import Message
from turnmix.core.task import Task, Workspace
from turnmix.core.trajectory import Action, State
from turnmix.recipe.recipe import load_recipe
from turnmix.rendering.renderer import Renderer
from turnmix.scaffold.scaffold import Scaffold, ScaffoldSettings

TASK = Task(id="t", problem_statement="It is broken.", workspace=Workspace(working_directory="/testbed"))
CALL = 'Let me see.\n<tool_call>\n{"name": "think", "arguments": {"thought": "hm"}}\n</tool_call>'


def scaffold(**settings):
    chosen = ScaffoldSettings(tool_calls="text", tools=("think", "finish"), **settings)
    return Scaffold(settings=chosen, sandbox=None, working_directory="/testbed")


def answer(text):
    return asyncio.run(scaffold().execute(Action(message=Message(role="assistant", content=text))))


def test_the_prompt_describes_the_selected_tools_in_their_order_and_none_are_on_offer_beside_it():
    system, user = scaffold().prompt(TASK)
    assert scaffold().specifications == ()
    assert (system.role, user.role) == ("system", "user")
    assert 0 < system.content.index('"name": "think"') < system.content.index('"name": "finish"')
    assert "<tool_call>" in system.content
    assert "execute_bash" not in system.content


def test_a_call_in_text_is_carried_out_and_answered_by_a_users_message():
    told = answer(CALL)
    assert [message.role for message in told.observation] == ["user"]
    assert told.observation[0].tool_call_id is None
    assert "noted" in told.observation[0].content
    assert told.action.message.tool_calls[0].arguments == {"thought": "hm"}
    assert not told.is_finished


def test_finishing_in_text_ends_the_trajectory():
    assert answer('<tool_call>{"name": "finish", "arguments": {"message": "done"}}</tool_call>').is_finished


def test_a_malformed_call_is_answered_with_the_right_form_and_plain_text_with_a_reminder():
    assert "exactly like this" in answer("<tool_call>{oops</tool_call>").observation[0].content
    assert "Please continue" in answer("I think it is done.").observation[0].content


def test_the_oracle_calls_natively_only(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text("method: dagger\nscaffold: {tool_calls: text}\n")
    with pytest.raises(RecipeError, match="oracle writes no calls as text"):
        load_recipe(str(path))
    assert load_recipe(str(path), ["method=grpo"]).scaffold.tool_calls == "text"
    other = ["teacher.endpoint=http://localhost:1/v1", "teacher.model=m"]
    assert load_recipe(str(path), other).scaffold.tool_calls == "text"


PLAIN_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def test_a_model_whose_template_knows_no_tools_can_be_taught_where_calls_are_text():
    tokenizer = make_tokenizer(PLAIN_TEMPLATE)
    with pytest.raises(UserError, match=r"leaves out the tools: .*; set scaffold\.tool_calls=text"):
        Renderer(tokenizer)
    renderer = Renderer(tokenizer, tool_calls="text")
    renderer.check()
    world = scaffold()
    start = State(messages=world.prompt(TASK), tools=world.specifications)
    action = Action(message=Message(role="assistant", content=CALL))
    taught = renderer.target_ids(start, action)
    assert tokenizer.decode(taught) == f"{CALL}<|im_end|>"
    assert renderer.parse(taught, start.tools).message.content == CALL
    told = asyncio.run(world.execute(action))
    after = State(messages=(*start.messages, action.message, *told.observation), tools=())
    assert "noted" in tokenizer.decode(renderer.prompt_ids(after))


def test_a_template_that_fails_on_text_is_refused_with_its_name():
    broken = make_tokenizer(PLAIN_TEMPLATE + "{{ raise_exception('no') }}")
    with pytest.raises(UserError, match=r"student\.model: 'tiny' has a chat template that fails"):
        Renderer(broken, tool_calls="text")
