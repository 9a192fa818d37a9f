"""OpenHands' SDK with its own terminal, editor and loop; its system prompt would be long for a nano student."""

import os

from openhands.sdk import LLM, Agent, Conversation, Tool
from openhands.tools.file_editor import FileEditorTool
from openhands.tools.terminal import TerminalTool
from workspace import SYSTEM, TASK, TURNS


def main():
    llm = LLM(
        model="openai/turnmix", base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"]
    )
    tools = [Tool(name=TerminalTool.name), Tool(name=FileEditorTool.name)]
    agent = Agent(llm=llm, tools=tools, system_prompt=SYSTEM)
    conversation = Conversation(
        agent=agent, workspace=TASK["working_directory"], max_iteration_per_run=TURNS, visualizer=None
    )
    conversation.send_message(TASK["prompt"])
    conversation.run()
    print(conversation.state.execution_status)


main()
