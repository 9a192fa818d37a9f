"""A taskset of verifiers for tests: find a number with tools, and say it. It runs in verifiers' own processes too."""

import verifiers.v1 as vf

__all__ = ["Numbers"]


class NumbersData(vf.TaskData):
    wanted: int


class Hints(vf.Toolset[vf.ToolsetConfig]):
    TOOL_PREFIX = "hints"

    @vf.tool
    def compare(self, number: int) -> str:
        """Compare a number with the wanted one of 12."""
        return "lower" if number > 12 else "higher" if number < 12 else "right"


class NumbersTaskConfig(vf.TaskConfig):
    breaks: bool = False


class Number(vf.Task[NumbersData, vf.State, NumbersTaskConfig]):
    @vf.reward(weight=1.0)
    async def is_said(self, task, trace) -> float:
        if self.config.breaks:
            raise ConnectionError("no judge answers")
        return float(trace.last_reply.strip() == str(task.wanted))

    @vf.reward(weight=-0.25)
    async def turns(self, trace) -> float:
        return float(trace.num_turns)

    @vf.stop
    async def gave_up(self, trace: vf.Trace) -> bool:
        return any("give up" in str(message.content) for message in trace.assistant_messages)


class NumbersConfig(vf.TasksetConfig):
    number: int = 6
    has_tools: bool = True
    task: NumbersTaskConfig = NumbersTaskConfig()


class Numbers(vf.Taskset[Number, NumbersConfig]):
    def load(self):
        for index in range(self.config.number):
            data = NumbersData(
                prompt=f"Task {index}: which number is wanted?", system_prompt="Find it.", wanted=12
            )
            yield Number(data, self.config.task)

    @classmethod
    def toolsets(cls, config):
        return [Hints(vf.ToolsetConfig())] if config.has_tools else []


if __name__ == "__main__":
    Hints.run()
