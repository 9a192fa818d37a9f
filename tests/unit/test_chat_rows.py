"""Rows of chat messages, in the shapes of other programs, become trajectories; what is none is named."""

import json
from datetime import date

import pytest

from chat_rows import ADD, adding_messages, adding_row, call
from turnmix.core.trajectory import Trajectory
from turnmix.exchange.chat_row import read_tools, trajectory_of
from turnmix.exchange.row_files import RowError
from turnmix.methods.targets import executed_action, imitate


def read(row, **options):
    return trajectory_of(row, name="rows-1", **options)


def taught(trajectory):
    """What is learned, and after how many messages."""
    return [
        (len(each.state.messages), each.target.message.content or each.target.message.tool_calls[0].arguments)
        for each in imitate([trajectory], executed_action).transitions
    ]


def test_each_assistant_message_is_taught_in_the_state_before_it():
    trajectory = read(adding_row())
    assert taught(trajectory) == [(2, {"a": 1, "b": 2}), (4, "It is 3.")]
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


def as_objects(row):
    for message in row["messages"]:
        for each in message.get("tool_calls", ()):
            each["function"]["arguments"] = json.loads(each["function"]["arguments"])
    return row


def of_swe_smith(row):
    """As SWE-smith's files have it: a JSON text, content in parts, the answered call in a list."""
    messages = [
        {**each, "content": [{"type": "text", "text": each["content"] or ""}]} for each in row["messages"]
    ]
    messages[3]["tool_call_ids"] = [messages[3].pop("tool_call_id")]
    return {"messages": json.dumps(messages), "instance_id": "rows-1", "tools": json.dumps(row["tools"])}


def of_trl(row):
    return {"prompt": row["messages"][:2], "completion": row["messages"][2:], "tools": [json.dumps(ADD)]}


def of_sharegpt(row):
    return {
        "conversations": [
            {"from": "system", "value": "You add."},
            {"from": "human", "value": "What is 1 and 2?"},
            {"from": "function_call", "value": json.dumps({"name": "add", "arguments": {"a": 1, "b": 2}})},
            {"from": "observation", "value": "3"},
            {"from": "gpt", "value": "It is 3."},
        ],
        "tools": json.dumps([ADD["function"]]),
    }


def of_earlier_openai(row):
    """Calls as they were before there could be several, and messages that answer without an id."""
    messages = row["messages"]
    messages[2]["function_call"] = messages[2].pop("tool_calls")[0]["function"]
    messages[3] = {"role": "function", "name": "add", "content": "3"}
    return {"messages": messages, "functions": [ADD["function"]]}


@pytest.mark.parametrize("shape", [as_objects, of_swe_smith, of_trl, of_sharegpt, of_earlier_openai])
def test_the_same_conversation_in_the_shapes_of_others_is_the_same_trajectory(shape):
    assert read(shape(adding_row())) == read(adding_row())


@pytest.mark.parametrize("field", ["train", "weight"])
def test_a_message_marked_as_not_to_be_learned_is_seen_and_not_taught(field):
    messages = adding_messages()
    messages[2][field] = 0
    (target,) = imitate([read({"messages": messages, "tools": [ADD]})], executed_action).transitions
    assert target.target.message.content == "It is 3."
    assert [message.role for message in target.state.messages] == ["system", "user", "assistant", "tool"]
    messages = adding_messages()
    messages[4][field] = False
    assert taught(read({"messages": messages, "tools": [ADD]})) == [(2, {"a": 1, "b": 2})]


def test_of_a_prompt_the_assistant_messages_are_seen_and_those_of_the_completion_taught():
    row = {"prompt": adding_messages()[:4], "completion": adding_messages()[4:], "tools": [ADD]}
    assert taught(read(row)) == [(4, "It is 3.")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_that_stand_apart_lead_the_content_as_renderers_have_them(field):
    messages = adding_messages()
    messages[4][field] = "One and two."
    assert read({"messages": messages, "tools": [ADD]}).turns[1].action.message.content == (
        "<think>\nOne and two.\n</think>\n\nIt is 3."
    )


def test_a_row_says_whether_its_task_was_resolved_by_true_or_by_one():
    verdicts = [read(adding_row(resolved=value)).verdict for value in (True, 1, 0, -1, None)]
    assert [None if verdict is None else verdict.resolved for verdict in verdicts] == [
        *(True, True, False),
        *(None, None),
    ]


def test_tools_of_a_row_that_describes_none_are_those_given_for_all():
    tools = read_tools([ADD], "tools")
    assert read({"messages": adding_messages()}, tools=tools) == read(adding_row())


def test_a_system_prompt_in_a_column_of_its_own_leads_the_conversation():
    """As LLaMA-Factory writes ShareGPT."""
    conversations = [{"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Hello!"}]
    trajectory = read({"system": "You greet.", "conversations": conversations})
    assert [(message.role, message.content) for message in trajectory.prompt] == [
        ("system", "You greet."),
        ("user", "Hello."),
    ]


@pytest.mark.parametrize(
    "refusing",
    [
        {"content": None, "refusal": "I will not."},
        {"content": [{"type": "refusal", "refusal": "I will not."}]},
    ],
)
def test_a_refusal_is_learned_as_the_text_that_it_is(refusing):
    trajectory = read({"messages": [{"role": "user", "content": "Do."}, {"role": "assistant", **refusing}]})
    assert trajectory.turns[0].action.message.content == "I will not."


def test_a_tool_whose_description_is_null_has_none():
    row = {**adding_row(), "tools": [{**ADD, "function": {**ADD["function"], "description": None}}]}
    assert read(row).tools[0].description == ""


def test_half_a_character_becomes_a_sign_that_a_tokenizer_takes():
    messages = adding_messages()
    messages[1]["content"] = "\ud83d!"
    messages[2]["tool_calls"] = [call(a=1, b=2, note="\udc00")]
    trajectory = read({"messages": messages, "tools": [ADD]})
    assert trajectory.prompt[1].content == "�!"
    assert trajectory.turns[0].action.message.tool_calls[0].arguments["note"] == "�"


def changed(index, **fields):
    def change(row):
        row["messages"][index] = {**row["messages"][index], **fields}
        return row

    return change


def call_of(**function):
    return [{"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}", **function}}]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda row: {"text": "Hello."}, "messages: is missing (the row has: text): give messages, or"),
        (lambda row: {**row, "messages": "[{"}, "messages: is a text that is not JSON"),
        (
            lambda row: {**row, "messages": {"role": "user"}},
            "messages: is an object: write a list of messages",
        ),
        (lambda row: {"prompt": "Add.", "completion": "3"}, "prompt: is a text without roles: give a list"),
        (lambda row: {**row, "messages": row["messages"][2:]}, "messages: begins with the assistant"),
        (
            lambda row: {**row, "messages": row["messages"][:2]},
            "messages: no assistant message is to be learned",
        ),
        (lambda row: {"messages": row["messages"]}, "tools: is missing, though tools are called"),
        (lambda row: {**row, "tools": {"add": {}}}, "tools: is an object: write a list of tools"),
        (lambda row: {**row, "tools": [{"type": "function"}]}, "tools[0].name: is missing"),
        (
            lambda row: {**row, "tools": [{"name": "add", "parameters": {"type": "array"}}]},
            "tools[0].parameters: is no JSON schema of type object",
        ),
        (
            changed(1, role="narrator"),
            "messages[1].role: 'narrator' is no role: use system, user, assistant or",
        ),
        (changed(1, role=None), "messages[1].role: is missing: use system"),
        (changed(1, content=7), "messages[1].content: is a number: write a text"),
        (
            changed(1, content=[{"type": "image_url", "image_url": {}}]),
            "messages[1].content[0]: 'image_url' is no text",
        ),
        (changed(1, tool_calls=call_of()), "messages[1].tool_calls: stands in a message of role user"),
        (
            changed(2, tool_calls=call_of(arguments="{")),
            "tool_calls[0].function.arguments: is a text that is not",
        ),
        (changed(2, tool_calls=call_of(arguments="[1]")), "tool_calls[0].function.arguments: is a list"),
        (
            changed(2, tool_calls=call_of(arguments='{"a": NaN}')),
            "tool_calls[0].function.arguments: is not JSON",
        ),
        (
            changed(2, tool_calls=call_of(arguments={"a": date(2026, 1, 1)})),
            "arguments: is not JSON (Object of",
        ),
        (lambda row: {**row, "messages": []}, "messages: holds no message: give some, or leave the row out"),
        (changed(2, tool_calls=call_of(name="")), "tool_calls[0].function.name: '' is no name"),
        (changed(2, weight=0.5), "messages[2].weight: 0.5: use 1, to learn the message, or 0"),
    ],
)
def test_a_row_that_is_no_conversation_is_refused_by_its_field(change, complaint):
    with pytest.raises(RowError) as caught:
        read(change(adding_row()))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "I look.\n\n<function=bash>\n<parameter=command>ls</parameter>\n</function>",
        "I look.\n\n```bash\nls\n```",
        '<tool_call>\n{"name": "bash", "arguments": {',
    ],
    ids=["xml", "ticks", "cut short"],
)
def test_where_no_tools_are_described_a_call_in_the_text_is_taught_as_the_text_it_is(text):
    """As in SWE-smith's rows whose agent writes its calls in a way of its own, told in the prompt."""
    messages = [*adding_messages()[:2], {"role": "assistant", "content": text}]
    assert taught(read({"messages": messages})) == [(2, text)]
