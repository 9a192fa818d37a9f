"""Starts another client in each trajectory of an iteration, by its number; run by the sandbox's own Python."""

import json
import os
import re
import sys

PROGRAMS = [
    "openai_chat.py",
    "mini",
    "openai_stream.py",
    "openhands_sdk.py",
    "openai_responses.py",
    "agents_sdk.py",
    "anthropic_messages.py",
]
"""Each trajectory's; `mini` is mini-swe-agent's own command. In the fourth and the sixth the teacher begins, for
a student's words, which call nothing, end these episodes."""


def main():
    with open(os.environ["TURNMIX_TASK"]) as file:
        task = json.load(file)
    program = PROGRAMS[int(re.search(r"-(\d+)", task["session"])[1])]
    python = os.environ["OPENHANDS_PYTHON" if program == "openhands_sdk.py" else "CLIENTS_PYTHON"]
    if not os.path.exists(python):
        program, python = "openai_chat.py", os.environ["CLIENTS_PYTHON"]
    words = [python, os.path.join(os.environ["TURNMIX_FILES"], program)]
    if program == "mini":
        words = [os.path.join(os.path.dirname(python), "mini"), "--yolo", "--exit-immediately"]
        words += [
            "--agent-class",
            "default",
            "-c",
            "mini.yaml",
            "-c",
            f"agent.step_limit={os.environ['MOST_TURNS']}",
        ]
        words += ["--model", "openai/turnmix", "--task", task["prompt"], "--output", "/tmp/mini.json"]
    sys.stdout.flush()
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
