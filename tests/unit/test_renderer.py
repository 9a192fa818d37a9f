"""Prompts and targets are the tokens that inference has, by whatever template."""

import copy

import pytest
from tokenizers import normalizers

from chat_models import (
    CODER_TEMPLATE,
    HERMES_TEMPLATE,
    TOOLS,
    answer,
    assistant,
    conversation,
    make_tokenizer,
)
from turnmix.core.errors import UserError
from turnmix.core.message import Message
from turnmix.core.trajectory import Action
from turnmix.rendering.renderer import Renderer

THINKING = "<think>\n\n</think>\n\n"


def make_renderer(template=HERMES_TEMPLATE, **options):
    return Renderer(make_tokenizer(template, **options))


def decoded(renderer, ids):
    return make_tokenizer(HERMES_TEMPLATE).decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("template", [HERMES_TEMPLATE, CODER_TEMPLATE])
def test_the_usual_templates_pass_the_check(template):
    make_renderer(template).check()


def test_the_prompt_is_the_whole_tokenised_template_with_tools_and_thinking_off():
    state = conversation(assistant("I look.", edit={"path": "a"}), answer("3 lines"))
    tokenizer = make_tokenizer()
    whole = tokenizer.apply_chat_template(
        [message.to_json() for message in state.messages],
        tools=[tool.to_json() for tool in TOOLS],
        add_generation_prompt=True,
        enable_thinking=False,
        tokenize=False,
    )
    assert '"name": "edit"' in whole
    assert whole.endswith("<|im_start|>assistant\n" + THINKING)
    assert Renderer(tokenizer).prompt_ids(state) == tokenizer(whole, add_special_tokens=False).input_ids


def test_a_target_is_the_turn_behind_the_generation_prompt_up_to_its_end():
    renderer = make_renderer(CODER_TEMPLATE)
    action = Action(message=assistant("I look.", edit={"path": "a"}))
    assert decoded(renderer, renderer.target_ids(conversation(), action)) == (
        "I look.\n<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n"
        "</function>\n</tool_call><|im_end|>"
    )


def test_an_empty_thinking_block_that_only_the_prompt_has_is_no_part_of_the_target():
    renderer = make_renderer()
    action = Action(message=assistant("", finish={}))
    target = decoded(renderer, renderer.target_ids(conversation(), action))
    assert target == '<tool_call>\n{"name": "finish", "arguments": {}}\n</tool_call><|im_end|>'


def test_sampled_tokens_are_the_target_as_they_are():
    action = Action(message=assistant("whatever"), token_ids=(5, 6, 7))
    assert make_renderer().target_ids(conversation(), action) == [5, 6, 7]


def test_a_rendered_target_parses_back_to_its_action():
    for template in (HERMES_TEMPLATE, CODER_TEMPLATE):
        renderer = make_renderer(template)
        message = assistant("I look.", edit={"path": "a\n", "line": 3}, finish={})
        ids = renderer.target_ids(conversation(), Action(message=message))
        assert renderer.parse(ids, TOOLS) == Action(message=message, token_ids=tuple(ids))


def test_an_end_of_turn_inside_the_content_does_not_cut_the_target():
    renderer = make_renderer(CODER_TEMPLATE)
    target = decoded(renderer, renderer.target_ids(conversation(), Action(message=assistant("a<|im_end|>b"))))
    assert target == "a<|im_end|>b<|im_end|>"


def test_tokens_that_are_no_call_parse_to_an_error_with_their_text():
    renderer = make_renderer()
    ids = make_tokenizer()("<tool_call>\n{'edit'}\n</tool_call><|im_end|>").input_ids
    action = renderer.parse(ids, TOOLS)
    assert "the JSON is invalid" in action.parse_error
    assert action.message == Message(role="assistant", content="<tool_call>\n{'edit'}\n</tool_call>")


def test_the_empty_sequence_parses_to_an_empty_message():
    assert make_renderer().parse((), TOOLS).message == Message(role="assistant", content="")


def test_a_tokenizer_whose_added_tokens_eat_space_is_tokenised_whole():
    renderer = make_renderer(added_token_strips=True)
    assert not renderer._segments.is_segmented
    state = conversation(assistant("", edit={"path": "a"}), answer("<tool_call>  \n spaced"))
    text = renderer.prompt_text(state)
    tokenizer = make_tokenizer(added_token_strips=True)
    assert renderer.prompt_ids(state) == tokenizer(text, add_special_tokens=False).input_ids


def test_a_template_without_tools_is_refused_by_name():
    template = HERMES_TEMPLATE.replace("{{- '\\n' + (tool | tojson) }}", "").replace("(tool | tojson)", "''")
    with pytest.raises(UserError, match=r"student\.model: 'tiny'.*leaves out the tools"):
        make_renderer(template).check()


def test_a_template_that_drops_the_content_of_a_call_is_refused():
    template = CODER_TEMPLATE.replace(
        "assistant\n' + message.content }}",
        "assistant\n' + (message.content if not message.tool_calls else '') }}",
    )
    assert template != CODER_TEMPLATE
    with pytest.raises(UserError, match=r"leaves out the text 'I look\.' of a turn that calls a tool"):
        make_renderer(template).check()


def test_a_template_whose_turns_begin_otherwise_than_the_generation_prompt_is_refused():
    template = CODER_TEMPLATE.replace(
        "add_generation_prompt %}{{- '<|im_start|>assistant", "add_generation_prompt %}{{- '<|im_start|>bot"
    )
    assert template != CODER_TEMPLATE
    with pytest.raises(UserError, match="otherwise than its generation prompt"):
        make_renderer(template).check()


def test_a_template_that_fails_is_reported_with_the_roles():
    template = CODER_TEMPLATE.replace(
        "message.role == 'tool'", "(message.role == 'tool' and raise_exception('no tools here'))"
    )
    with pytest.raises(
        UserError, match=r"fails on a tool's answer: no tools here; set scaffold\.tool_calls=text"
    ):
        make_renderer(template)


def test_a_tokenizer_without_a_template_is_refused():
    tokenizer = make_tokenizer("").__class__(tokenizer_object=make_tokenizer().backend_tokenizer)
    with pytest.raises(UserError, match="has no chat template; choose an instruct model"):
        Renderer(tokenizer)


def test_a_template_that_leaves_out_one_of_two_tool_answers_is_refused():
    shown = (
        "message.role == 'user' or (message.role == 'tool' and (loop.last or loop.nextitem.role != 'tool'))"
    )
    template = CODER_TEMPLATE.replace("message.role == 'user' or message.role == 'tool'", shown)
    assert template != CODER_TEMPLATE
    with pytest.raises(UserError, match="leaves out '1 line of turnmix' of two tool answers in a row"):
        make_renderer(template).check()


def test_a_template_that_leaves_out_the_arguments_of_tools_is_refused():
    template = CODER_TEMPLATE.replace("(tool.function.parameters | tojson)", "''")
    assert template != CODER_TEMPLATE
    with pytest.raises(UserError, match="leaves out the tools: 'path' is not in the prompt"):
        make_renderer(template).check()


def test_a_tokenizer_that_changes_text_is_refused():
    tokenizer = copy.deepcopy(make_tokenizer())
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(
        UserError, match=r"'tiny' writes .* reads back as .*; choose a model whose .* tokenizer"
    ):
        Renderer(tokenizer).check()


def test_padding_and_truncation_that_others_switch_on_touch_no_prompt():
    tokenizer = copy.deepcopy(make_tokenizer())
    state = conversation(assistant("I look.", edit={"path": "a"}), answer("3 lines"))
    expected = Renderer(tokenizer).prompt_ids(state)
    tokenizer(["a", "b"], padding="max_length", truncation=True, max_length=5)
    assert Renderer(tokenizer).prompt_ids(state) == expected
