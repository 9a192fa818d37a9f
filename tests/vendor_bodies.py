"""A request in canonical form as each vendor's client sends it, and what their own models say of a body."""

import json

from pydantic import BaseModel, TypeAdapter


def sent(request, path, **more):
    """The body of a request for the dialect at `path`."""
    body = {"model": request.model, **_BODIES[path](request), **more}
    if request.form.stop:
        body["stop_sequences" if path == "/messages" else "stop"] = list(request.form.stop)
    return json.loads(json.dumps(body))


def asserted(model, data):
    """`data` as the vendor's model, which knows each of its fields."""
    found = TypeAdapter(model).validate_python(data)
    if unknown := _unknown(found):
        raise AssertionError(f"unknown to the vendor: {unknown}")
    return found


def _unknown(value, path=""):
    if isinstance(value, BaseModel):
        extra = [f"{path}.{name}" for name in value.model_extra or ()]
        return [*extra, *(each for name, member in value for each in _unknown(member, f"{path}.{name}"))]
    if isinstance(value, list):
        return [each for number, member in enumerate(value) for each in _unknown(member, f"{path}[{number}]")]
    return []


def _chat(request):
    messages = []
    for message in request.messages:
        data = message.to_json()
        for call in data.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
        if message.tool_calls and not message.content:
            data["content"] = None
        messages.append(data)
    tools = [tool.to_json() for tool in request.tools]
    return {"messages": messages, **({"tools": tools} if tools else {})}


def _responses(request):
    items = []
    for number, message in enumerate(request.messages):
        if message.role == "tool":
            output = {"type": "function_call_output", "call_id": message.tool_call_id}
            items.append({**output, "output": message.content})
        elif message.role == "assistant":
            if message.content or not message.tool_calls:
                part = {"type": "output_text", "text": message.content, "annotations": []}
                item = {"type": "message", "id": f"msg_{number}a_0", "role": "assistant", "content": [part]}
                items.append({**item, "status": "completed"})
            for index, call in enumerate(message.tool_calls, start=1):
                item = {"type": "function_call", "id": f"fc_{number}a_{index}", "call_id": call.id}
                items.append({**item, "name": call.name, "arguments": json.dumps(dict(call.arguments))})
        else:
            items.append({"role": message.role, "content": message.content})
    instructions = {}
    if request.messages[0].role == "system" and request.messages[0].content:
        instructions["instructions"] = items.pop(0)["content"]
    tools = [{"type": "function", **tool.to_json()["function"], "strict": False} for tool in request.tools]
    return {"input": items, **instructions, "tools": tools}


def _messages(request):
    messages = []
    for message in request.messages:
        if message.role == "tool":
            result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
            if messages and messages[-1]["role"] == "user" and isinstance(messages[-1]["content"], list):
                messages[-1]["content"].append(result)
            else:
                messages.append({"role": "user", "content": [result]})
        elif message.role == "assistant":
            texts = [{"type": "text", "text": message.content}] if message.content else []
            uses = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}
                for call in message.tool_calls
            ]
            messages.append({"role": "assistant", "content": [*texts, *uses]})
        else:
            messages.append({"role": message.role, "content": message.content})
    system = {}
    if request.messages[0].role == "system" and request.messages[0].content:
        system["system"] = [{"type": "text", "text": messages.pop(0)["content"]}]
    tools = [
        {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
        for tool in request.tools
    ]
    return {"max_tokens": 100, "messages": messages, **system, "tools": tools}


_BODIES = {"/chat/completions": _chat, "/responses": _responses, "/messages": _messages}
