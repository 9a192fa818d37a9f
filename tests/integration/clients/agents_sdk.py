"""openai-agents: its own loop, and a second agent that the first can ask, as a tool."""

import asyncio

from agents import Agent, MaxTurnsExceeded, ModelBehaviorError, Runner, function_tool
from workspace import SYSTEM, TASK, TURNS, carry_out


@function_tool
def bash(command: str) -> str:
    """Run a shell command."""
    return carry_out({"command": command})


async def main():
    helper = Agent(name="helper", instructions="You look things up.", model="turnmix", tools=[bash])
    ask = helper.as_tool(tool_name="ask_helper", tool_description="Ask a colleague to look something up.")
    agent = Agent(name="developer", instructions=SYSTEM, model="turnmix", tools=[bash, ask])
    try:
        done = await Runner.run(agent, TASK["prompt"], max_turns=TURNS)
        print(done.final_output)
    except (MaxTurnsExceeded, ModelBehaviorError) as end:
        print(type(end).__name__, end)


asyncio.run(main())
