"""The anthropic package: messages, streamed on every second turn, with the tokens counted once."""

from anthropic import Anthropic
from workspace import DESCRIPTIONS, GO_ON, SCHEMAS, SYSTEM, TASK, TURNS, carry_out

TOOLS = [
    {"name": name, "description": DESCRIPTIONS[name], "input_schema": schema}
    for name, schema in SCHEMAS.items()
]


def main():
    client = Anthropic()
    messages = [{"role": "user", "content": TASK["prompt"]}]
    assert client.messages.count_tokens(model="turnmix", messages=messages).input_tokens > 5
    for turn in range(TURNS):
        asked = {
            "model": "turnmix",
            "max_tokens": 1000,
            "system": SYSTEM,
            "messages": messages,
            "tools": TOOLS,
        }
        if turn % 2:
            with client.messages.stream(**asked) as stream:
                answer = stream.get_final_message()
        else:
            answer = client.messages.create(**asked)
        messages.append({"role": "assistant", "content": answer.content})
        calls = [block for block in answer.content if block.type == "tool_use"]
        results = []
        for call in calls:
            if call.name == "finish":
                return
            results.append({"type": "tool_result", "tool_use_id": call.id, "content": carry_out(call.input)})
        messages.append({"role": "user", "content": results or GO_ON})


main()
