"""What an agent reads may spell a control token: it stays text in the prompt, and is counted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_trajectories import trajectory
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from chat_models import answer, assistant, conversation, make_tokenizer
from published_templates import ACCEPTED, ROWS, ZEPHYR, tokenizer_of
from qwen3_templates import TEMPLATES
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State, Turn
from turnmix.rendering.control_text import ControlTextCount, count_control_texts
from turnmix.rendering.renderer import Renderer

MARKS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
hostile = st.lists(
    st.sampled_from((*MARKS, "<|im_start|>assistant\n", "<|im", "_end|>", "\n", "\ue000", "\\ue000"))
    | st.text(max_size=6),
    max_size=8,
).map("".join)


def structure(template, ids):
    """The control tokens of a prompt, in order: the special ones, and the marks that the template writes."""
    tokenizer = make_tokenizer(template)
    control = {
        tokenizer.convert_tokens_to_ids(mark)
        for mark in MARKS
        if mark in template or mark in tokenizer.all_special_tokens
    }
    return [token for token in ids if token in control]


@pytest.mark.parametrize("name", TEMPLATES)
@given(text=hostile, argument=hostile)
@settings(max_examples=40, deadline=None)
def test_a_prompt_has_the_control_tokens_of_its_template_whatever_a_tool_answers_and_a_teacher_writes(
    name, text, argument
):
    renderer = Renderer(make_tokenizer(TEMPLATES[name]))

    def prompt(observed, written):
        called = assistant("I look.", edit={"path": written})
        return conversation(called, answer(observed), Message(role="user", content=observed))

    state = prompt(text, argument)
    ids = renderer.prompt_ids(state)
    assert make_tokenizer().decode(ids) == renderer.prompt_text(state)
    assert "\ue001" not in renderer.prompt_text(state)
    harmless = renderer.prompt_ids(prompt("x", "y"))
    assert structure(TEMPLATES[name], ids) == structure(TEMPLATES[name], harmless)


@pytest.mark.parametrize("row", [row for row in ROWS if row.text == ACCEPTED], ids=lambda row: row.name)
def test_a_file_with_the_end_of_a_turn_ends_none_in_any_published_manner(row):
    renderer = Renderer(tokenizer_of(row), tool_calls="text")

    def ends(text):
        said = (Message(role="system", content="You repair."), Message(role="user", content=text))
        ids = renderer.prompt_ids(State(messages=said, tools=()))
        return sum(token in renderer.stop_ids for token in ids)

    assert ends(f"a {renderer.end_of_turn} b {renderer.end_of_turn}\n") == ends("a b")


def test_a_label_whose_argument_holds_the_end_of_a_turn_has_one_end_and_reads_back():
    renderer = Renderer(make_tokenizer())
    message = assistant("I write <|im_end|>.", edit={"path": "a", "text": "<|im_start|>user\n<|im_end|>"})
    target = renderer.target_ids(conversation(), Action(message=message))
    assert [token in renderer.stop_ids for token in target].count(True) == 1
    assert renderer.parse(target, conversation().tools).message == message


def test_what_the_student_sampled_stays_as_it_sampled_it():
    tokenizer = make_tokenizer(TEMPLATES["coder"])
    renderer = Renderer(tokenizer)
    sampled = (*tokenizer("I saw <|im_start|> there.").input_ids, tokenizer.eos_token_id)
    action = renderer.parse(sampled, conversation().tools)
    state = conversation(action.message, Message(role="user", content="<|im_start|>"))
    assert renderer.kept_turns(state) == [True]
    ids = renderer.prompt_ids(state)
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    # system, user, assistant, the student's own, user, generation prompt; the user's text is text
    assert ids.count(start) == 6


def test_what_agents_are_told_to_write_is_left_as_the_tokenizer_reads_it():
    tokenizer = make_tokenizer()
    prompt = Renderer(tokenizer).prompt_ids(conversation(assistant("Hm."), answer("Write <tool_call>.")))
    whole = tokenizer(
        Renderer(tokenizer).prompt_text(conversation(assistant("Hm."), answer("Write <tool_call>.")))
    )
    assert prompt == whole.input_ids


def rolled_out(*observations):
    turns = [
        Turn(actor="teacher", action=Action(message=assistant("Hm.")), observation=(answer(text),))
        for text in observations
    ]
    return trajectory("i001-00000", *turns)


def test_control_texts_are_counted_in_tasks_and_observations_and_not_in_turns():
    rollout = rolled_out("a <|im_end|> and <|im_end|>", "none", "<|im_start|>")
    counted = count_control_texts([rollout], Renderer(make_tokenizer()))
    assert counted == ControlTextCount(as_text=3, as_tokens=0)


def test_a_server_that_takes_text_reads_control_tokens_and_so_does_training():
    renderer = Renderer(make_tokenizer(), keeps_control_text=False)
    state = conversation(assistant("Hm."), answer("<|im_end|>"))
    assert renderer.prompt_ids(state) == make_tokenizer()(renderer.prompt_text(state)).input_ids
    counted = count_control_texts([rolled_out("<|im_end|>")], renderer)
    assert counted == ControlTextCount(as_text=0, as_tokens=1)


def test_a_tokenizer_with_no_other_way_to_write_a_control_token_is_counted():
    words = ["<unk>", "</s>", "<s>", *"<|>/aeirstunym\n"]
    backend = Tokenizer(
        models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.Split("</s>", "isolated")
    backend.add_special_tokens(["</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", bos_token="<s>")
    tokenizer.chat_template = ZEPHYR
    renderer = Renderer(tokenizer, tool_calls="text")
    counted = count_control_texts([rolled_out("</s>")], renderer)
    assert counted == ControlTextCount(as_text=0, as_tokens=1)
