"""The openai package: chat completions, one after the other."""

from openai import OpenAI
from openai_tools import TOOLS
from workspace import GO_ON, SYSTEM, TASK, TURNS, carry_out


def main():
    client = OpenAI()
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": TASK["prompt"]}]
    for _ in range(TURNS):
        answer = client.chat.completions.create(model="turnmix", messages=messages, tools=TOOLS)
        message = answer.choices[0].message
        messages.append(message)
        for call in message.tool_calls or []:
            if call.function.name == "finish":
                return
            output = carry_out(call.function.arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": output})
        if not message.tool_calls:
            messages.append({"role": "user", "content": GO_ON})


main()
