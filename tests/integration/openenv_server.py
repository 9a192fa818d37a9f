"""Two OpenEnv environments by openenv-core, at /guess and /tools of one server; its port is printed. Run by a Python
that has openenv-core."""

import random
import socket
import time

import uvicorn
from fastapi import FastAPI
from fastmcp import FastMCP
from openenv.core.env_server import Action, Environment, Observation, State, create_fastapi_app
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation


class Guess(Action):
    """Name a number from 0 to 15."""

    number: int
    note: str = ""


class Told(Observation):
    told: str


class Guessing(Environment[Guess, Told, State]):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._secret = 0

    def reset(self, seed=None, episode_id=None, **options):
        self._secret = random.Random(seed).randrange(16) if "secret" not in options else options["secret"]
        return Told(told="Guess my number.")

    def step(self, action, timeout_s=None, **options):
        if action.note == "crash":
            raise RuntimeError("the dice are gone")
        if action.note == "sleep":
            time.sleep(6)
        if action.number == self._secret:
            return Told(told="right", reward=1.0, done=True)
        return Told(told="higher" if action.number < self._secret else "lower", reward=-0.125)

    @property
    def state(self):
        return State()


class Adding(MCPEnvironment):
    """Wants the sum of two numbers."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        server = FastMCP("adding")
        self._is_right = False

        @server.tool
        def add(a: int, b: int) -> str:
            """Add two numbers."""
            return f"{a + b}"

        @server.tool
        def answer(number: int) -> str:
            """Say what they are together."""
            self._is_right = number == self._wanted
            return "noted"

        super().__init__(server)

    def reset(self, seed=None, episode_id=None, **options):
        drawn = random.Random(seed)
        numbers = drawn.randrange(100), drawn.randrange(100)
        self._wanted = sum(numbers)
        return Observation(metadata={"numbers": numbers})

    async def step_async(self, action, timeout_s=None, **options):
        observation = await super().step_async(action, timeout_s=timeout_s, **options)
        is_answer = isinstance(action, CallToolAction) and action.tool_name == "answer"
        if isinstance(observation, CallToolObservation) and is_answer:
            observation.done, observation.reward = True, float(self._is_right)
        return observation

    def _step_impl(self, action, timeout_s=None, **options):
        return Observation()

    @property
    def state(self):
        return State()


app = FastAPI()
app.mount("/guess", create_fastapi_app(Guessing, Guess, Told, max_concurrent_envs=8))
app.mount("/tools", create_fastapi_app(Adding, CallToolAction, CallToolObservation, max_concurrent_envs=8))
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])
