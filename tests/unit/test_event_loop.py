"""A coroutine is run from anywhere: also where an event loop runs already, as in a notebook."""

import _thread
import asyncio

import pytest

from turnmix.core.event_loop import run_coroutine


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


def test_ctrl_c_in_a_notebook_ends_the_coroutine_before_it_is_told():
    ended = []

    async def endless():
        _thread.interrupt_main()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("in order")

    with pytest.raises(KeyboardInterrupt):
        in_a_loop(lambda: run_coroutine(endless()))
    assert ended == ["in order"]
