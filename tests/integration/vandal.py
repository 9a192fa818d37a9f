"""A random student that harms real repositories: it looks around, breaks lines, deletes and adds files."""

from __future__ import annotations

import random

from turnmix.core.trajectory import Action, State
from turnmix.policies.policy import Episode
from turnmix.policies.scripted import ScriptedPolicy, call_action

COMMANDS = (
    "ls -la",
    "git status --short | head",
    "sed -n 1,20p {file}",
    "grep -rn 'def ' . | head -5",
    "sed -i '{line}d' {file}",
    "sed -i '{line}s/a/b/' {file}",
    "git checkout .",
    "rm -f {file}",
    ": > {file}",
    "echo 'raise ImportError' > notes_{line}.py",
    "cd /tmp",
)


def make_vandal(seed: int) -> ScriptedPolicy:
    """Its every action is drawn from (seed, task, turn). It never finishes."""

    def script(episode: Episode, state: State) -> Action:
        generator = random.Random(f"{seed} {episode.task.id} {len(state.messages)}")
        if generator.random() < 0.1:
            return call_action("think", thought="hm")
        file = f'"$(git ls-files "*.py" | sort | sed -n {generator.randint(1, 12)}p)"'
        command = generator.choice(COMMANDS).format(file=file, line=generator.randint(1, 60))
        return call_action("execute_bash", command=command)

    return ScriptedPolicy("vandal", script)
