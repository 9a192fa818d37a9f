"""A coroutine is run from anywhere: also where an event loop runs already, as in a notebook."""

import asyncio
import signal
import subprocess
import sys
import threading
import time

import pytest

from turnmix.core.event_loop import _Beside, run_coroutine


async def answer(number):
    await asyncio.sleep(0)
    return number


async def fail():
    raise ValueError("no answer")


def in_a_loop(call):
    """What `call` gives inside of a loop that handles no signal itself, as a notebook's."""

    async def cell():
        return call()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(cell())
    finally:
        loop.close()


def test_a_coroutine_gives_its_result_and_its_error_wherever_it_is_run():
    assert run_coroutine(answer(3)) == in_a_loop(lambda: run_coroutine(answer(3))) == 3
    for run in (run_coroutine, lambda coroutine: in_a_loop(lambda: run_coroutine(coroutine))):
        with pytest.raises(ValueError, match="no answer"):
            run(fail())


@pytest.mark.parametrize("moment", ["before it waits", "as it waits"])
def test_ctrl_c_in_a_notebook_ends_the_coroutine_before_it_is_told(moment):
    waits, ended = threading.main_thread().ident, []

    class Caller(threading.Event):
        """What a thread that starts another waits on: it can be interrupted here already."""

        def wait(self, timeout=None):
            super().wait(timeout)
            begun.wait(300)
            raise KeyboardInterrupt

    begun = threading.Event()

    async def endless():
        begun.set()
        if moment == "as it waits":
            signal.pthread_kill(waits, signal.SIGINT)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("in order")

    def call():
        beside = _Beside(endless())
        if moment == "before it waits":
            beside._thread._started = Caller()
        return beside.result()

    before, began = signal.signal(signal.SIGINT, signal.default_int_handler), time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            in_a_loop(call)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == ["in order"]
    assert time.monotonic() - began < 1800


CLEANING_UP = """
import asyncio, os, signal
from turnmix.cli.command_line import _terminated_as_interrupted
from turnmix.core.event_loop import run_coroutine

async def main():
    asked, answered = asyncio.Event(), asyncio.Event()

    async def answering():
        await asked.wait()
        answered.set()

    beside = asyncio.create_task(answering())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        await asyncio.sleep(3600)
    finally:
        asked.set()
        await answered.wait()
        print("cleaned up", flush=True)

try:
    with _terminated_as_interrupted():
        run_coroutine(main())
except KeyboardInterrupt:
    print("interrupted")
"""


TWICE = """
import asyncio, os, signal
from turnmix.cli.command_line import _terminated_as_interrupted
from turnmix.core.event_loop import run_coroutine

async def main():
    async def beside():
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            print("cleaned up", flush=True)

    other = asyncio.create_task(beside())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        await asyncio.sleep(3600)
    finally:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.sleep(3600)

try:
    with _terminated_as_interrupted():
        run_coroutine(main())
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("interrupts", [signal.SIG_IGN, signal.default_int_handler])
@pytest.mark.parametrize("script", [CLEANING_UP, TWICE], ids=["once", "twice"])
def test_a_termination_lets_what_it_ends_clean_up_also_where_interrupts_are_ignored(script, interrupts):
    before = signal.signal(signal.SIGINT, interrupts)
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.stdout, done.stderr) == ("cleaned up\ninterrupted\n", "")
