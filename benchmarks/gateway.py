"""What the gateway adds to each answer of a model: beside direct access to it, and beside a proxy that records nothing.

    sh scripts/make_litellm.sh .venv-litellm
    OMP_NUM_THREADS=1 python benchmarks/gateway.py --litellm .venv-litellm

A model server answers after 50 ms, whatever it is asked. So many agents at once work on sessions of 30 turns: five
tools, a history that grows by one to two thousand characters a turn, and between two turns a pause of one second on
average, as their tools take. The model, the gateway and the proxy are a process each, this one is the agents. All cases
take turns in each round, in another order in each; a figure is the median over the rounds.

    direct             the model itself
    gateway, teacher   its endpoint acts: messages go on as messages
    gateway, student   a served student acts: rendered by a tokenizer of Qwen's kind, sent and read as tokens
    gateway, labelled  the student acts, and the teacher labels each of its states: two requests of the model a turn
    LiteLLM            its proxy, with one worker, where --litellm names its environment

added_ms_N          median wait with N agents, less the direct one: of `gateway, student`, as the next two
added_p99_ms_N      the same of the 99th percentile
throughput_share_N  turns a second, over the direct ones
proxy_added_ms_N    as the first, of LiteLLM
cpu_ms_N            processor milliseconds of the gateway a turn, and proxy_cpu_ms_N

With `--pause 0` agents do nothing but wait for the model. The gateway has one core at most: how many turns a second it
can serve is a thousand over its `cpu_ms_N`, and with more than that agents wait in line.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from gateway_load import GatewayDoor, PlainDoor, Scripts, measure
from synthetic_text import make_tokenizer

HERE = Path(__file__).parent
KINDS = ("teacher", "student", "labelled")
HEADLINE = "gateway, student"
NUM_ANSWERS = 64
KEY = "sk-of-this-benchmark-alone"
TICKS = os.sysconf("SC_CLK_TCK")
CALL = {"name": "bash", "arguments": {"argument": "grep -rn 'def test_' tests | head -40", "path": "tests"}}


def chat_answers(number):
    """So many chat completions with one call each."""
    for index in range(number):
        arguments = {**CALL["arguments"], "path": f"tests/part_{index}"}
        function = {"name": CALL["name"], "arguments": json.dumps(arguments)}
        call = {"id": f"call_{index:09d}", "type": "function", "function": function}
        message = {"role": "assistant", "content": "I look at the tests first.", "tool_calls": [call]}
        yield {
            "id": f"chatcmpl-{index}",
            "object": "chat.completion",
            "created": 1,
            "model": "model",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 4000, "completion_tokens": 60, "total_tokens": 4060},
        }


@contextlib.contextmanager
def program(*command, env=None):
    """A process that says its port in a first line; it ends with this context."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        yield process.pid, f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def litellm(environment, model, directory):
    """LiteLLM's proxy before the model, with one worker."""
    parameters = {"model": "openai/model", "api_base": f"{model}/v1", "api_key": "none"}
    settings = {"model_list": [{"model_name": "model", "litellm_params": parameters}]}
    (directory / "litellm.yaml").write_text(json.dumps(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--config", str(directory / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    env = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": KEY,
        "PATH": f"{environment}/bin:/usr/bin:/bin",
    }
    with (directory / "litellm.log").open("w") as log:
        process = subprocess.Popen(
            [f"{environment}/bin/litellm", *words],
            env=env,
            stdout=log,
            stderr=log,
            cwd=directory,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while not is_alive(f"{url}/health/liveliness"):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(
                    f"LiteLLM does not start:\n{(directory / 'litellm.log').read_text()[-2000:]}"
                )
            time.sleep(0.1)
        yield process.pid, f"{url}/v1"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def is_alive(url):
    try:
        return urllib.request.urlopen(url, timeout=2).status == 200
    except (urllib.error.URLError, OSError):
        return False


def text_answers(number, tokenizer):
    """So many completions of a served student's, with one call each."""
    for index in range(number):
        call = {**CALL, "arguments": {**CALL["arguments"], "path": f"tests/part_{index}"}}
        text = f"I look at the tests first.\n<tool_call>\n{json.dumps(call)}\n</tool_call>"
        ids = [*tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.token_to_id("<|im_end|>")]
        choice = {
            "index": 0,
            "text": text,
            "token_ids": ids,
            "finish_reason": "stop",
            "logprobs": {"token_logprobs": [-0.1] * len(ids)},
        }
        yield {"choices": [choice], "usage": {"prompt_tokens": 4000, "completion_tokens": len(ids)}}


def processor_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextlib.contextmanager
def doors(arguments):
    """By case: the process whose time is counted, and where agents ask."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        tokenizer = make_tokenizer(merged=8000, vocabulary=151_936)
        tokenizer.save(str(directory / "tokenizer.json"))
        answers = {
            "/v1/models": [{"object": "list", "data": []}],
            "/v1/chat/completions": list(chat_answers(NUM_ANSWERS)),
            "/v1/completions": list(text_answers(NUM_ANSWERS, tokenizer)),
        }
        (directory / "answers.json").write_text(json.dumps(answers))
        words = (str(HERE / "gateway_model.py"), str(directory / "answers.json"), str(arguments.seconds))
        model_pid, model = stack.enter_context(program(sys.executable, *words))
        words = (
            str(HERE / "gateway_service.py"),
            model,
            str(directory / "tokenizer.json"),
            str(directory / "run"),
        )
        pid, url = stack.enter_context(program(sys.executable, *words))
        found = {"direct": (model_pid, PlainDoor(f"{model}/v1"))}
        found |= {f"gateway, {kind}": (pid, GatewayDoor(url, kind)) for kind in arguments.kinds}
        if arguments.litellm:
            pid, url = stack.enter_context(litellm(arguments.litellm, model, directory))
            found["LiteLLM"] = (pid, PlainDoor(url, KEY))
        yield found


def rounds(found, scripts, arguments, sessions):
    """By case, of each round: median, 99th percentile (milliseconds), turns a second, processor milliseconds a turn."""
    measured = {case: [] for case in found}
    for number in range(arguments.rounds):
        cases = list(found)
        for case in cases[number % len(cases) :] + cases[: number % len(cases)]:
            pid, door = found[case]
            busy = processor_seconds(pid)
            load = asyncio.run(measure(door, scripts, sessions=sessions, pause=arguments.pause))
            num, waits = len(load.waits), load.waits
            measured[case].append(
                (
                    1000 * waits[num // 2],
                    1000 * waits[min(num - 1, num * 99 // 100)],
                    num / load.seconds,
                    1000 * (processor_seconds(pid) - busy) / num,
                )
            )
    return measured


def report(measured, sessions):
    """The table of so many agents, and the figures."""
    print(f"\n{sessions} at once")
    print(
        f"  {'':18}{'median ms':>11}{'99th':>9}{'turns/s':>9}{'added':>9}{'added 99th':>12}{'share':>8}{'CPU ms':>8}"
    )
    figures = {}
    for case, found in measured.items():
        pairs = list(zip(found, measured["direct"], strict=True))
        added, added_p99 = (statistics.median(a[of] - b[of] for a, b in pairs) for of in (0, 1))
        share = statistics.median(a[2] / b[2] for a, b in pairs)
        median, p99, rate, busy = (statistics.median(each) for each in zip(*found, strict=True))
        print(
            f"  {case:18}{median:11.1f}{p99:9.1f}{rate:9.1f}{added:9.1f}{added_p99:12.1f}{share:8.3f}{busy:8.2f}"
        )
        if case == HEADLINE:
            figures |= {
                f"added_ms_{sessions}": round(added, 2),
                f"added_p99_ms_{sessions}": round(added_p99, 2),
                f"throughput_share_{sessions}": round(share, 4),
                f"cpu_ms_{sessions}": round(busy, 2),
            }
        elif case == "LiteLLM":
            figures |= {
                f"proxy_added_ms_{sessions}": round(added, 2),
                f"proxy_cpu_ms_{sessions}": round(busy, 2),
            }
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 64, 512], help="agents at once")
    parser.add_argument("--turns", type=int, default=30, help="of a session")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=float, default=1.0, help="mean seconds between two turns")
    parser.add_argument("--seconds", type=float, default=0.05, help="in which the model answers")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS, help="the gateway's cases")
    parser.add_argument("--litellm", help="the environment of LiteLLM's proxy")
    arguments = parser.parse_args()
    scripts = Scripts(arguments.turns)
    figures = {}
    with doors(arguments) as found:
        for _, door in found.values():  # what is loaded at a first request
            asyncio.run(measure(door, Scripts(2), sessions=1, pause=0))
        gc.collect()
        gc.freeze()
        gc.disable()
        for sessions in arguments.sessions:
            figures |= report(rounds(found, scripts, arguments, sessions), sessions)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
