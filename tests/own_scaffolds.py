"""Scaffolds of users: plain scripts that need nothing but the standard library, and what collects with them."""

import asyncio

from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.environments.oracle.policy import OraclePolicy
from turnmix.gateway.scaffolds.collecting import ScaffoldCollector
from turnmix.gateway.scaffolds.settings import CommandSettings
from turnmix.gateway.session.tokens import RoughTokenCounter
from turnmix.gateway.settings import GatewaySettings
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.rollout.mixture import DaggerMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

AGENT = """
import json, os, subprocess, sys, urllib.error, urllib.request

def post(url, body):
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
    return json.load(urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)))

def bash(command):
    if os.environ.get("OUTSIDE"):
        # A student that was never trained says this, and an editor of that name never ends.
        command = "view() { :; }\\n" + command
        done = post(os.environ["TURNMIX_RUN_URL"], {"command": command, "timeout": 120})
        return done["output"], done["exit_code"]
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode(errors="replace"), done.returncode

def tool(name, argument):
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}

def main():
    task = json.load(open(os.environ["TURNMIX_TASK"]))
    messages = [{"role": "user", "content": task["prompt"]}]
    while True:
        body = {"model": os.environ["TURNMIX_MODEL"], "messages": messages}
        body["tools"] = [tool("execute_bash", "command"), tool("finish", "message")]
        answer = post(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body)["choices"][0]["message"]
        messages.append(answer)
        for call in answer.get("tool_calls") or []:
            name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
            if name == "finish":
                return
            output, code = bash(arguments["command"])
            print("$", arguments["command"], flush=True)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": output + "[exit code %s]" % code})
        if not answer.get("tool_calls"):
            messages.append({"role": "user", "content": "Please call a tool."})

if __name__ == "__main__":
    main()
"""
"""Solves tasks with a shell alone."""
ASK = """
import os, sys
from agent import post
messages = 1 if sys.argv[1:] else [{"role": "user", "content": "Hi."}]
post(os.environ["OPENAI_BASE_URL"] + "/chat/completions", {"model": "m", "messages": messages})
"""
"""Asks once; with an argument, wrongly."""

PROBE = """
import json, os, socket, urllib.error, urllib.request
said = {"variables": sorted(os.environ), "uid": os.getuid()}
def status(path, body=None, key=os.environ["OPENAI_API_KEY"]):
    top = os.environ["ANTHROPIC_BASE_URL"].split("/sessions/")[0]
    request = urllib.request.Request(top + path, body and json.dumps(body).encode(), {"Authorization": "Bearer " + key})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
own = os.environ["ANTHROPIC_BASE_URL"].split("/sessions/")[1]
mine = own.split("/")[0]
other = mine[:-1] + ("1" if mine.endswith("0") else "0")
said["own"] = status("/sessions/" + own)
said["other"] = status("/sessions/" + other)
said["open"] = status("/sessions", {})
said["finish"] = status("/sessions/" + own + "/finish", {"verdict": {"resolved": True}})
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
    said["network"] = True
except OSError:
    said["network"] = False
said["interfaces"] = sorted(name for _, name in socket.if_nameindex())
print(json.dumps(said))
import sys; sys.path.insert(0, os.environ["TURNMIX_FILES"])
import agent; agent.main()
"""
"""Says what it finds and what it can reach, then is AGENT."""


def look(episode, state):
    """A student that only looks around."""
    return call_action("execute_bash", command="ls")


def collected(
    settings,
    *,
    num_tasks=2,
    mixture=None,
    student=look,
    logs=None,
    max_turns=60,
    source=None,
    keep=None,
    label=True,
    is_taught=True,
    make_sandbox=None,
    cancelled_once=None,
    **options,
):
    """The trajectories of a scaffold. `cancelled_once`: a condition on which the collection is given up."""
    has_sandbox = source is None
    source = source or MinirepoSource(
        MinirepoSettings(),
        make_sandbox=make_sandbox or BubblewrapSettings().make,
        scaffold=ScaffoldSettings(),
    )
    collector = ScaffoldCollector(
        settings=settings,
        gateway=GatewaySettings(),
        max_turns=max_turns,
        max_tokens=30_000,
        count=RoughTokenCounter(),
        has_sandbox=has_sandbox,
        logs=logs,
        is_taught=is_taught,
    )
    mixture = mixture or DaggerMixture(decay=0.5, floor=0.5)
    plans = make_plans(
        source.tasks("train")[:num_tasks], iteration=2, seed=3, cohort_size=2, beta=mixture.beta(2)
    )

    async def scenario():
        teacher = OraclePolicy(source.solution) if has_sandbox else ScriptedPolicy("teacher", student)
        collecting = asyncio.create_task(
            collector.collect(
                RolloutRequest(
                    plans=plans,
                    source=source,
                    student=ScriptedPolicy("student", student),
                    teacher=teacher,
                    mixture=mixture,
                    label=label,
                    concurrency=2,
                    backoff_seconds=0.01,
                    on_trajectory=keep,
                    **options,
                )
            )
        )
        if cancelled_once is not None:
            while not (cancelled_once() or collecting.done()):  # noqa: ASYNC110 (nothing tells of it)
                await asyncio.sleep(0.02)
            collecting.cancel()
        try:
            return await collecting
        except asyncio.CancelledError:
            return None
        finally:
            await teacher.close()

    return asyncio.run(asyncio.wait_for(scenario(), 600))


def command(line, **settings):
    return CommandSettings(command=line, **settings)
