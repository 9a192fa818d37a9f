"""A world without files, commands or patches, as somebody else would write it: find the secret colour."""

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.task import Task
from turnmix.core.trajectory import State, StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.environment import Step, TaskSettings
from turnmix.policies.scripted import ScriptedPolicy, call_action

COLOURS = ("red", "green", "blue")
WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
SAY = ToolSpecification(name="say", description="Say a word.", parameters=WORD)


class Words(TaskSettings):
    """Secret colours."""

    train: int = 8
    """Training tasks."""
    holdout: int = 3
    """Holdout tasks."""

    def make(self, parts):
        return WordSource({"train": self.train, "holdout": self.holdout})


class WordSource:
    def __init__(self, sizes):
        self.sizes = sizes

    def tasks(self, split):
        numbers = range(self.sizes[split])
        return [Task(id=f"{split}-{number}", problem_statement="Find the colour.") for number in numbers]

    def environment(self, task):
        return WordWorld(task, COLOURS[int(task.id.split("-")[1]) % len(COLOURS)])

    def expert(self):
        return ScriptedPolicy("expert", lambda episode, _: call_action("say", word=episode.privileged_view()))


class WordWorld:
    def __init__(self, task, secret):
        self.task, self.secret, self.written = task, secret, []

    def privileged_view(self):
        return self.secret

    async def reset(self):
        return State(messages=(Message(role="user", content=self.task.problem_statement),), tools=(SAY,))

    async def step(self, action):
        calls = [call for call in action.message.tool_calls if call.name == "say"]
        self.written.append(action.message.content + "".join(str(call.arguments) for call in calls))
        said = {call.arguments.get("word") for call in calls}
        told = [Message(role="tool", content="heard", tool_call_id=call.id) for call in calls]
        is_over = self.secret in said or len(self.written) == 2
        finished = StopReason.finished if self.secret in said else StopReason.max_turns
        return Step(
            observation=tuple(told) or (Message(role="user", content="Say a word."),),
            stop_reason=finished if is_over else None,
        )

    async def verify(self, stop_reason):
        is_found = stop_reason is StopReason.finished
        reward = 1.0 if is_found else 1 / (2 + len("".join(self.written)))
        return Verdict(resolved=is_found, reward=reward, details={"secret": self.secret})

    async def close(self):
        pass
