"""The openai package: the Responses API, whose answers are streamed on every second turn."""

from openai import OpenAI
from workspace import DESCRIPTIONS, GO_ON, SCHEMAS, SYSTEM, TASK, TURNS, carry_out

TOOLS = [
    {
        "type": "function",
        "name": name,
        "description": DESCRIPTIONS[name],
        "parameters": schema,
        "strict": False,
    }
    for name, schema in SCHEMAS.items()
]


def main():
    client = OpenAI()
    items = [{"role": "user", "content": TASK["prompt"]}]
    for turn in range(TURNS):
        asked = {"model": "turnmix", "instructions": SYSTEM, "input": items, "tools": TOOLS}
        if turn % 2:
            with client.responses.stream(**asked) as stream:
                answer = stream.get_final_response()
        else:
            answer = client.responses.create(**asked)
        items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in answer.output]
        calls = [item for item in answer.output if item.type == "function_call"]
        for call in calls:
            if call.name == "finish":
                return
            output = carry_out(call.arguments)
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
        if not calls:
            items.append({"role": "user", "content": GO_ON})


main()
