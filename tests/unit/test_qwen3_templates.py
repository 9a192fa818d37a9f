"""The templates of the paper's models, as the renderer teaches and prompts with them."""

import itertools

import jinja2
import pytest

from chat_models import TOOLS, answer, assistant, conversation, make_tokenizer
from qwen3_templates import CODER, HYBRID, INSTRUCT, TEMPLATES
from sampled_turns import rollout, said, sampled, student_turn, teacher_turn, with_call_answered
from turnmix.core.message import Message, ToolSpecification
from turnmix.core.trajectory import State
from turnmix.rendering.renderer import Renderer
from turnmix.training.tree import RenderedTransition, build_tree

EMPTY_THINKING = "<think>\n\n</think>\n\n"
LOOK = {"path": "a.py", "line": 3, "view_range": [1, 20], "dry": True, "options": {"deep": None}}


@pytest.fixture(params=TEMPLATES)
def template(request):
    return TEMPLATES[request.param]


def rendered(template, messages, *, tools=TOOLS, generate=False):
    """What transformers renders, with thinking off."""
    return make_tokenizer(template).apply_chat_template(
        [message.to_json() for message in messages],
        tools=[tool.to_json() for tool in tools],
        add_generation_prompt=generate,
        tokenize=False,
        enable_thinking=False,
    )


def mixed_rollout(template):
    """Two calls in one turn, a student that strays, a turn without a call, and a user in between."""
    tokenizer = make_tokenizer(template)
    renderer = Renderer(tokenizer)
    looks = assistant("I look.", edit=LOOK, finish={})
    edits = said(assistant("", edit={"path": "b.py", "text": 'é "x"\n'}))
    please = Message(role="user", content="Please call a tool.")
    return rollout(
        teacher_turn(said(looks), *with_call_answered("1 line", "2 lines")),
        student_turn(sampled(renderer, tokenizer, "It is done."), please, label=edits),
        student_turn(sampled(renderer, tokenizer, "<tool_call>\n{oops"), please, label=edits),
        teacher_turn(edits),
        student_turn(sampled(renderer, tokenizer, "Done."), please, label=said(assistant("", finish={}))),
        teacher_turn(said(assistant("Submitted.", finish={}))),
    )


def test_each_template_passes_the_start_up_checks(template):
    renderer = Renderer(make_tokenizer(template))
    renderer.check()
    assert renderer.format.name == ("qwen3-coder" if template is CODER else "hermes")


def test_prompt_and_target_of_every_transition_are_what_inference_has(template):
    tokenizer = make_tokenizer(template)
    renderer = Renderer(tokenizer)
    trajectory = mixed_rollout(template)
    for index, turn in enumerate(trajectory.turns):
        state = trajectory.state(index)
        prompt = renderer.prompt_ids(state)
        at_inference = rendered(template, state.messages, generate=True)
        assert tokenizer.decode(prompt) == at_inference
        if not any(message.token_ids for message in state.messages):
            assert prompt == tokenizer(at_inference, add_special_tokens=False).input_ids
        target = renderer.target_ids(state, turn.label)
        whole = rendered(template, (*state.messages, turn.label.message))
        assert at_inference + tokenizer.decode(target) == whole.removesuffix("\n")
        assert target[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert target.count(target[-1]) == 1


def path_to(tree, row):
    """The tokens from the root down to `row`."""
    tokens = []
    while row >= 0:
        tokens.append(int(tree.token_ids[row]))
        run = next(run for run in tree.runs if run.start <= row < run.stop)
        row = run.parent if row == run.start else row - 1
    return tuple(reversed(tokens))


def test_the_tree_over_a_trajectory_supervises_each_target_behind_its_own_prompt(template):
    renderer = Renderer(make_tokenizer(template))
    trajectory = mixed_rollout(template)
    transitions = [
        RenderedTransition(
            prompt_ids=tuple(renderer.prompt_ids(trajectory.state(index))),
            target_ids=tuple(renderer.target_ids(trajectory.state(index), turn.label)),
            group=trajectory.id,
        )
        for index, turn in enumerate(trajectory.turns)
    ]
    prompts = [item.prompt_ids for item in transitions]
    breaks = [later[: len(sooner)] != sooner for sooner, later in itertools.pairwise(prompts)]
    assert any(breaks) == (template is HYBRID)
    tree = build_tree(transitions)
    taught = {(path_to(tree, row), int(token)) for row, token in zip(tree.label_rows, tree.label_ids)}
    assert taught == {
        (item.prompt_ids + item.target_ids[:place], token)
        for item in transitions
        for place, token in enumerate(item.target_ids)
    }
    assert len(tree) < 0.7 * tree.separate_tokens


@pytest.mark.parametrize(("template", "is_prefix"), [(INSTRUCT, True), (HYBRID, False), (CODER, True)])
def test_a_turn_and_its_prompt_are_a_prefix_of_the_next_prompt_but_with_the_hybrid(template, is_prefix):
    turn = assistant("I look.", edit=LOOK)
    before = rendered(template, conversation().messages, generate=True)
    turn_text = Renderer(make_tokenizer(template)).target_text(conversation(), turn)
    after = rendered(template, conversation(turn, answer("1 line")).messages, generate=True)
    assert after.startswith(before + turn_text) == is_prefix
    assert after.startswith(before.removesuffix(EMPTY_THINKING) + turn_text)


def test_tool_answers_in_a_row_are_one_user_turn(template):
    looks = assistant("", edit=LOOK, finish={})
    one = rendered(template, conversation(looks, *with_call_answered("first")).messages)
    two = rendered(template, conversation(looks, *with_call_answered("first", "second")).messages)
    assert two.count("<|im_start|>user") == one.count("<|im_start|>user")
    assert two.count("</tool_response>") == 2
    assert not two.startswith(one)


def test_arguments_are_objects_because_the_coder_template_fails_on_text():
    message = assistant("", edit=LOOK).to_json()
    assert isinstance(message["tool_calls"][0]["function"]["arguments"], dict)
    message["tool_calls"][0]["function"]["arguments"] = '{"path": "a.py"}'
    messages = [{"role": "user", "content": "Go."}, message]
    assert '{"path": "a.py"}' in make_tokenizer(INSTRUCT).apply_chat_template(messages, tokenize=False)
    with pytest.raises((TypeError, jinja2.TemplateError)):
        make_tokenizer(CODER).apply_chat_template(messages, tokenize=False)


def test_the_coder_template_leaves_out_enum_and_is_read_back_by_the_schema_all_the_same():
    view = ToolSpecification(
        name="view",
        description="Look.",
        parameters={
            "type": "object",
            "properties": {"how": {"type": "string", "enum": ["brief"]}, "line": {"type": "integer"}},
            "required": ["how"],
        },
    )
    state = State(messages=conversation().messages, tools=(view,))
    prompts = {each: Renderer(make_tokenizer(each)).prompt_text(state) for each in TEMPLATES.values()}
    assert '"enum": ["brief"]' in prompts[INSTRUCT]
    assert "brief" not in prompts[CODER]
    assert "<name>how</name>" in prompts[CODER]
    renderer = Renderer(make_tokenizer(CODER))
    message = assistant("", view={"how": "3", "line": 3})
    ids = renderer.target_ids(state, said(message))
    assert renderer.parse(ids, (view,)).message == message


def test_the_hybrid_opens_with_an_empty_think_block_that_is_no_part_of_target_or_history():
    renderer = Renderer(make_tokenizer(HYBRID))
    turn = assistant("", finish={})
    assert renderer.prompt_text(conversation()).endswith("<|im_start|>assistant\n" + EMPTY_THINKING)
    assert renderer.target_text(conversation(), turn).startswith("<tool_call>\n")
    later = renderer.prompt_text(conversation(turn, answer("1 line")))
    assert later.count(EMPTY_THINKING) == 1


def test_the_hybrid_strips_thinking_once_a_user_speaks_and_the_others_keep_it(template):
    tokenizer = make_tokenizer(template)
    renderer = Renderer(tokenizer)
    action = sampled(renderer, tokenizer, "<think>\nMaybe b.\n</think>\n\nI look.")
    assert action.message.content == "<think>\nMaybe b.\n</think>\n\nI look."
    later = conversation(action.message, Message(role="user", content="Go on."))
    assert ("Maybe b." in renderer.prompt_text(later)) == (template is not HYBRID)
    assert renderer.kept_turns(later) == [template is not HYBRID]
