"""The openai package: asynchronous, streamed chat completions, put together from their chunks."""

import asyncio

from openai import AsyncOpenAI
from openai_tools import TOOLS
from workspace import GO_ON, SYSTEM, TASK, TURNS, carry_out


async def streamed(client, messages):
    text, calls = "", []
    stream = await client.chat.completions.create(
        model="turnmix", messages=messages, tools=TOOLS, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        if chunk.usage:
            assert chunk.usage.total_tokens > 0
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for piece in choice.delta.tool_calls or []:
                if piece.index == len(calls):
                    calls.append(
                        {"id": piece.id, "type": "function", "function": {"name": "", "arguments": ""}}
                    )
                function = calls[piece.index]["function"]
                function["name"] += piece.function.name or ""
                function["arguments"] += piece.function.arguments or ""
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}


async def main():
    client = AsyncOpenAI()
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": TASK["prompt"]}]
    for _ in range(TURNS):
        message = await streamed(client, messages)
        messages.append(message)
        calls = message.get("tool_calls", [])
        for call in calls:
            if call["function"]["name"] == "finish":
                return
            output = await asyncio.to_thread(carry_out, call["function"]["arguments"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": output})
        if not calls:
            messages.append({"role": "user", "content": GO_ON})


asyncio.run(main())
