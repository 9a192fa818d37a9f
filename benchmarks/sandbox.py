"""What a sandbox costs beside a peer's: start, command and stop, in one run, by turns.

The peer is mini-swe-agent (the extra `benchmarks` pins it), whose environments run each command by a program
of its own: `podman exec` into a container, or a fresh `bwrap`. Ours: `run` (a fresh process of /bin/sh) and
`shell` (execute_bash's persistent shell, as an agent uses it). Every round measures all of them, one after the
other; a figure is the median over the rounds. Prints a table and one line of JSON; a ratio is our `run` over
the peer's command, so under 1 is faster.

    python benchmarks/sandbox.py [--rounds N] [--commands N] [--image IMAGE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.selection import SandboxSettings, make_sandbox
from turnmix.scaffold.shell import open_shell

COMMAND = "echo $((6 * 7))"
PODMAN = Path(__file__).parents[1] / "scripts" / "start_podman.sh"
Times = dict[tuple[str, str], list[float]]


class Clock:
    """Adds what passes in its context to `times`."""

    def __init__(self, times: Times, what: str) -> None:
        self.times, self.what = times, what

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.times[self.what, step].append(time.perf_counter() - began)


async def measure_ours(sandbox: Sandbox, clock: Clock, num_commands: int) -> None:
    with clock("start"):
        await sandbox.start()
    try:
        for _ in range(num_commands):
            with clock("run"):
                result = await sandbox.run(COMMAND, working_directory="/")
            assert result.output == b"42\n", result
        with clock("open shell"):
            shell = await open_shell(sandbox, working_directory="/", output_limit=1 << 16)
        assert shell is not None
        for _ in range(num_commands):
            with clock("shell"):
                await shell.start(COMMAND.encode())
                report = await shell.wait(quiet_seconds=None, total_seconds=10)
            assert report.head == b"42\n", report
        await shell.close()
    finally:
        with clock("stop"):
            await sandbox.stop()


def measure_peer(make: Any, clock: Clock, num_commands: int) -> None:
    with clock("start"):
        environment = make()
    for _ in range(num_commands):
        with clock("run"):
            result = environment.execute({"command": COMMAND})
        assert result["output"].strip() == "42", result
    container = getattr(environment, "container_id", None)
    with clock("stop"):
        environment.cleanup()
    if container is not None:  # it is stopped in the background, which would go on beside what comes next
        subprocess.run(["podman", "rm", "--force", "--time=0", container], capture_output=True)


def peers(image: str, socket: str) -> dict[str, Any]:
    """What makes the peer's environments."""
    os.environ["MSWEA_SILENT_STARTUP"] = "1"
    try:
        from minisweagent.environments.docker import DockerEnvironment
        from minisweagent.environments.extra.bubblewrap import BubblewrapEnvironment
    except ImportError as error:
        raise SystemExit(f"the peer is not installed ({error}): pip install 'turnmix[benchmarks]'") from None
    logging.disable(logging.INFO)

    def make_container() -> Any:
        arguments = ["--rm", "--network=none"]
        return DockerEnvironment(
            image=image, executable="podman", run_args=arguments, interpreter=["sh", "-c"]
        )

    os.environ["CONTAINERS_CONF"] = f"{socket.removeprefix('unix://')}.conf"
    return {"container": make_container, "bubblewrap": BubblewrapEnvironment}


@contextlib.contextmanager
def podman() -> Iterator[str]:
    """The address of a Podman that ends with this run."""
    directory = Path(tempfile.mkdtemp(prefix="turnmix-benchmark-"))
    process = subprocess.Popen(["sh", str(PODMAN), str(directory / "podman.sock")], stderr=subprocess.DEVNULL)
    try:
        while subprocess.run(
            ["podman", "--url", f"unix://{directory}/podman.sock", "version"], capture_output=True
        ).returncode:
            time.sleep(0.02)
        yield f"unix://{directory}/podman.sock"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Start, command and stop times beside a peer's.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--commands", type=int, default=20, help="commands of a round")
    parser.add_argument("--image", default="localhost/turnmix-test:1")
    arguments = parser.parse_args()
    with podman() as socket:
        times = measure(arguments.image, socket, arguments.rounds, arguments.commands)
    report(times, arguments.rounds, arguments.commands)


def measure(image: str, socket: str, num_rounds: int, num_commands: int) -> Times:
    times: Times = defaultdict(list)
    container = {"image": image, "socket": socket, "pull": "never"}
    ours = {
        kind: SandboxSettings.model_validate({"kind": kind, "container": container})
        for kind in ("container", "bubblewrap")
    }
    theirs = peers(image, socket)
    for number in range(num_rounds + 1):
        kept: Times = times if number else defaultdict(list)  # the first round warms everything up
        for kind, settings in ours.items():
            asyncio.run(measure_ours(make_sandbox(settings), Clock(kept, f"{kind}, ours"), num_commands))
            measure_peer(theirs[kind], Clock(kept, f"{kind}, peer"), num_commands)
    return times


def report(times: Times, num_rounds: int, num_commands: int) -> None:
    steps = ("start", "run", "open shell", "shell", "stop")
    median = {key: 1000 * statistics.median(values) for key, values in times.items()}
    print(f"milliseconds, median of {num_rounds} rounds of {num_commands} commands")
    print(f"  {'':20}" + "".join(f"{step:>12}" for step in steps))
    for what in dict.fromkeys(what for what, _ in times):
        shown = (f"{median[what, step]:12.2f}" if (what, step) in median else f"{'–':>12}" for step in steps)
        print(f"  {what:20}" + "".join(shown))
    figures = {
        f"{kind}_command_ratio": round(median[f"{kind}, ours", "run"] / median[f"{kind}, peer", "run"], 4)
        for kind in ("container", "bubblewrap")
    }
    print("  The peer's stop returns before its container has ended; ours when it is gone.")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
