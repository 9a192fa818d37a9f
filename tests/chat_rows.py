"""Rows of chat messages as other programs write them."""

import json

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


def call(name="add", call_id="call_0", **arguments):
    """A call as OpenAI writes it: its arguments are a text."""
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }


def adding_messages(number=1):
    """Two turns: a call, and what comes of it."""
    return [
        {"role": "system", "content": "You add."},
        {"role": "user", "content": f"What is {number} and 2?"},
        {"role": "assistant", "content": None, "tool_calls": [call(a=number, b=2)]},
        {"role": "tool", "tool_call_id": "call_0", "content": str(number + 2)},
        {"role": "assistant", "content": f"It is {number + 2}."},
    ]


def adding_row(number=1, **columns):
    return {"messages": adding_messages(number), "tools": [ADD], **columns}
