"""Servers of the student that Ray places act as its checkpoint, after each renewal, and where one of them is killed."""

import os
import pickle
import signal
import sys
import time
from pathlib import Path

import pytest
from served_students import BASE, has_sandbox, own_actions, perturbed, rolled_out, visited

from ray_machines import machines, processes
from turnmix.assembly.served_student import load_served_student
from turnmix.cluster.servers import PlacedServers
from turnmix.core.errors import UserError
from turnmix.core.trajectory import StopReason
from turnmix.nano import CHECKPOINT
from turnmix.recipe.recipe import recipe_of

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'turnmix[ray]'")
for package in ("fastapi", "uvicorn", "openai"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'turnmix[serve]'")
pytestmark = pytest.mark.skipif(not has_sandbox(), reason="bwrap is not installed: apt install bubblewrap")

SERVER = {
    "engine": "transformers",
    "backoff_seconds": 0.2,
    "max_backoff_seconds": 1.0,
    "start_timeout_seconds": 300.0,
}


def recipe(number, **server):
    return recipe_of(
        {
            "method": "dagger",
            "student": {"model": str(CHECKPOINT), "max_new_tokens": 48, "server": {**SERVER, **server}},
            "scaffold": {"max_tokens": 4096},
            "cluster": {"servers": number, "heartbeat_seconds": 15},
        }
    )


def placed(number, run, **server):
    asked = recipe(number, **server)
    student = load_served_student(asked, location=str(CHECKPOINT), moment=None)
    return PlacedServers(asked, student, run=run, moment=None)


def messages(actions):
    return [(action.message, action.parse_error) for action in actions]


def acts_as(location, trajectories):
    seen = visited(trajectories)
    own = own_actions(location, [state for state, _ in seen])
    return messages(action for _, action in seen) == messages(own)


class Killing:
    """A policy before whose third action the server that is to be asked for it is killed."""

    name = "student"

    def __init__(self, policy, servers):
        self._policy = policy
        self._names = servers._servers
        self._pids = {each.name: pid_of(each) for each in servers._placed}
        self.left = 3
        self.killed = None

    def begin(self, episode):
        session = self._policy.begin(episode)
        act = session.act

        async def killing(state):
            self.left -= 1
            if self.left == 0:
                self.killed = self._names.in_order(episode.trajectory_id)[0]
                os.kill(self._pids[self.killed], signal.SIGKILL)
            return await act(state)

        session.act = killing
        return session

    async def close(self):
        await self._policy.close()


def pid_of(server):
    return ray.get(server._actor.__ray_call__.remote(lambda actor: os.getpid()))


def comes(condition):
    """Whether it comes to this within minutes."""
    deadline = time.monotonic() + 900
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()


def sleeping_later(folder):
    """A program that is the engine's own until there is `sleeps` beside it; then it serves nothing."""
    program = folder / "transformers"
    own = Path(sys.executable).with_name("transformers")
    program.write_text(f'#!/bin/sh\n[ -e {folder}/sleeps ] && exec {" ".join(SLEEPING)}\nexec {own} "$@"\n')
    program.chmod(0o755)
    return str(program)


SLEEPING = ("sleep", "98765")


def are_logged(run):
    logs = [run / f"server-{number}.log" for number in (0, 1)]
    return all(log.is_file() and "Uvicorn running" in log.read_text() for log in logs)


def sleeping():
    return processes("\0".join(SLEEPING))


def test_two_placed_servers_act_as_each_checkpoint_and_what_is_killed_or_hangs_is_replaced_until_it_is_closed(
    tmp_path,
):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    other = perturbed(run / "checkpoints" / "iteration-001")
    told = []
    with machines(2, namespace="test-servers"):
        servers = placed(2, run, program=sleeping_later(tmp_path))
        try:
            servers.open(BASE, log=run / "server.log", say=told.append)
            assert acts_as(BASE.location, rolled_out(pickle.loads(pickle.dumps(servers.policy(greedy=True)))))
            assert comes(lambda: are_logged(run)), told
            servers.renew(other)
            killing = Killing(servers.policy(greedy=True), servers)
            found = rolled_out(killing)
            assert killing.left < 0
            assert comes(lambda: any("another one takes its place" in line for line in told)), told
            assert [each.error for each in found if each.stop_reason is StopReason.infra_error] == []
            assert acts_as(other.location, found)
            assert not acts_as(BASE.location, found)
            (tmp_path / "sleeps").touch()
            [hanging] = [each for each in servers._placed if each.name != killing.killed]
            os.kill(pid_of(hanging), signal.SIGSTOP)
            assert comes(lambda: any(f"{hanging.name} was lost" in line for line in told)), told
            assert comes(lambda: hanging._actor is not None and sleeping()), told
        finally:
            servers.close()
        assert [line for line in told if "did not answer" in line] == []  # nor was that waited for
        assert comes(lambda: processes("ServerActor") == sleeping() == [])


def test_servers_that_are_given_are_not_placed(tmp_path):
    with pytest.raises(UserError, match=r"cluster\.servers: 2: .* without endpoint"):
        placed(2, tmp_path, endpoint="http://localhost:8000/v1")
